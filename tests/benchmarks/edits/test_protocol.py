from __future__ import annotations

from tests.benchmarks.edits.made import to_kinds

from visual_memory_benchmarks.edits.edit import ADDITION, KINDS, MISLABELLED, NOTHING, REMOVAL, Edit
from visual_memory_benchmarks.edits.protocol import Protocol
from visual_memory_benchmarks.edits.states import State

PROTOCOL = Protocol(kinds=to_kinds(edges=[1, 2], misleading=[0.1, 0.2], halving=[1]))
SIZES = {Edit("misleading", 0.1): 4, Edit("misleading", 0.2): 8, Edit("halving", 1): 8}
STATES = {(0, edit): State(0, edit, SIZES.get(edit, 0), 40, "", {}) for edit in PROTOCOL.edits}


def test_controls_of_additions_are_known_before_any_edit_is_made() -> None:
    assert PROTOCOL.first == [NOTHING, *PROTOCOL.edits, Edit(ADDITION, 1), Edit(ADDITION, 2)]
    study = Protocol(kinds=to_kinds(edges=[1], cue_conflict=[2]))
    assert study.first[-2:] == [Edit(MISLABELLED, 2), Edit(ADDITION, 1)]


def test_controls_of_removals_follow_once_for_each_size() -> None:
    added = PROTOCOL.all(0, STATES)[len(PROTOCOL.first) :]

    assert added == [Edit(REMOVAL, 4), Edit(REMOVAL, 8)]


def test_every_edit_has_a_control_that_is_made() -> None:
    made = PROTOCOL.all(0, STATES)

    assert all(PROTOCOL.control(edit, 0, STATES) in made for edit in PROTOCOL.edits)


def test_the_largest_dose_of_an_addition_says_how_many_pictures_are_needed() -> None:
    assert PROTOCOL.dose_max == 2
    assert Protocol(kinds=to_kinds(halving=[1])).dose_max == 0


def test_the_study_has_at_least_eight_kinds_five_seeds_and_two_values_of_k() -> None:
    study = Protocol()

    assert study.kinds is KINDS
    assert len(KINDS) >= 8
    assert study.seeds >= 5
    assert study.ks == (10, 50)
