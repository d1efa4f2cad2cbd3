from __future__ import annotations

import pytest

from visual_memory_benchmarks.edits.edit import ADDITION, KINDS, MISLABELLED, REMOVAL, Edit
from visual_memory_benchmarks.edits.states import APPLY


def test_an_addition_is_held_against_photographs_of_the_same_dose() -> None:
    assert KINDS["silhouettes"].control_of(2, size=32) == Edit(ADDITION, 2)


def test_cue_conflict_is_held_against_the_same_pictures_under_wrong_labels() -> None:
    assert KINDS["cue-conflict"].control_of(5, size=80) == Edit(MISLABELLED, 5)


def test_a_removal_is_held_against_as_many_entries_removed_at_random() -> None:
    assert KINDS["hard-pruning"].control_of(128, size=41) == Edit(REMOVAL, 41)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_several_doses_and_can_be_made(name: str) -> None:
    assert len(set(KINDS[name].doses)) >= 2
    assert name in APPLY


def test_an_edit_has_a_name_for_people() -> None:
    assert Edit("value-pruning", 0.1).name == "value-pruning 0.1"
