from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.benchmarks.edits.made import CATEGORIES, to_material

import visual_memory
from visual_memory_benchmarks.edits.edit import KINDS, NOTHING, REMOVAL, Edit
from visual_memory_benchmarks.edits.material import CUE_CONFLICT, NATURAL
from visual_memory_benchmarks.edits.split import split
from visual_memory_benchmarks.edits.states import (
    APPLY,
    SOFT,
    State,
    edited,
    forget,
    remembered,
    visit,
)
from visual_memory_benchmarks.errors import MemoryChanged

DEALT = split(to_material(), 0, 2)
NAME = "edits-tested"
ENTRIES = len(DEALT.memory)
FEWEST = min(Counter(DEALT.memory.categories.tolist()).values())
DOSES = {"hard-pruning": ENTRIES - FEWEST, SOFT: 8, "halving": 2}
ADDED = {name for name, kind in KINDS.items() if kind.control != REMOVAL}


@pytest.fixture
def memory(client: visual_memory.Client) -> Iterator[visual_memory.Memory]:
    yield remembered(client, NAME, DEALT)
    forget(client, NAME)


def visited(client: visual_memory.Client, memory: visual_memory.Memory, edit: Edit) -> State:
    return visit(client, memory, edit, DEALT, ks=[3])


def made(kind: str) -> Edit:
    return Edit(kind, 2 if kind in ADDED else DOSES.get(kind, 0.4))


KINDS_MADE = [name for name in KINDS if name != "phase-scrambling"]


@pytest.mark.parametrize("kind", KINDS_MADE)
def test_an_edit_and_its_control_are_of_equal_size(
    client: visual_memory.Client, memory: visual_memory.Memory, kind: str
) -> None:
    state = visited(client, memory, made(kind))

    control = visited(client, memory, KINDS[kind].control_of(state.edit.dose, state.size))

    assert control.size == state.size > 0
    if kind != SOFT:  # which takes parts of votes
        assert abs(state.voting - ENTRIES) == state.size
        assert control.voting == state.voting


@pytest.mark.parametrize("kind", KINDS_MADE)
def test_the_memory_is_left_as_it_was_and_its_copy_is_dropped(
    client: visual_memory.Client, memory: visual_memory.Memory, kind: str
) -> None:
    before = memory.info().digest

    state = visited(client, memory, made(kind))

    assert memory.info().digest == before
    assert (state.digest == before) == (kind == SOFT)
    assert edited(NAME) not in [each.name for each in client.memories()]


def test_a_state_has_an_answer_to_every_test_for_every_k(
    client: visual_memory.Client, memory: visual_memory.Memory
) -> None:
    state = visit(client, memory, NOTHING, DEALT, ks=[1, 3])

    for answers in state.answers.values():
        assert {name: len(each) for name, each in answers.items()} == {
            name: len(tests) for name, tests in DEALT.tests.items()
        }


def test_a_memory_of_photographs_knows_photographs_and_answers_by_texture(
    client: visual_memory.Client, memory: visual_memory.Memory
) -> None:
    answers = visited(client, memory, NOTHING).answers[3]

    named = {name: np.array(CATEGORIES)[each].tolist() for name, each in answers.items()}
    assert named[NATURAL] == DEALT.tests[NATURAL].categories.tolist()
    assert named[CUE_CONFLICT] == DEALT.tests[CUE_CONFLICT].texture_categories.tolist()


def test_removing_what_is_like_textures_takes_the_neighbours_that_have_their_label(
    client: visual_memory.Client, memory: visual_memory.Memory
) -> None:
    bears = DEALT.probes.at(DEALT.probes.texture_categories == "bear")
    count = memory.info().labels["bear"]

    edit = Edit("texture-like", count / ENTRIES)
    size = APPLY[edit.kind](memory, edit, replace(DEALT, probes=bears))

    assert size == count
    assert "bear" not in memory.info().labels


def test_removing_what_misleads_takes_the_highest_counts(
    client: visual_memory.Client, memory: visual_memory.Memory
) -> None:
    counts = memory.misleading_counts(k=10)

    APPLY["misleading"](memory, Edit("misleading", 0.2), DEALT)

    left = {entry.id for entry in memory.entries()}
    removed = counts.keys() - left
    assert len(removed) == round(0.2 * ENTRIES)
    assert min(counts[id] for id in removed) >= max(counts[id] for id in left)


def test_halving_takes_half_of_as_many_categories(
    client: visual_memory.Client, memory: visual_memory.Memory
) -> None:
    before = memory.info().labels

    APPLY["halving"](memory, Edit("halving", 2), DEALT)

    lost = {label: before[label] - count for label, count in memory.info().labels.items()}
    assert {label for label, count in lost.items() if count} == set(DEALT.halved[:2])
    assert all(lost[label] == before[label] // 2 for label in DEALT.halved[:2])


def test_a_larger_removal_takes_what_a_smaller_one_takes(
    client: visual_memory.Client, memory: visual_memory.Memory
) -> None:
    APPLY[REMOVAL](memory, Edit(REMOVAL, 3), DEALT)
    few = {entry.id for entry in memory.entries()}
    again = remembered(client, NAME, DEALT)

    APPLY[REMOVAL](again, Edit(REMOVAL, 8), DEALT)

    assert {entry.id for entry in again.entries()} < few


def test_softening_nothing_is_of_no_size(client: visual_memory.Client) -> None:
    """No vote is reduced if no entry misleads."""
    memory = client.create_memory(NAME, dimension=2)
    memory.insert(vectors=np.eye(2)[[0, 0, 1, 1]], labels=["a", "a", "b", "b"])

    size = APPLY[SOFT](memory, Edit(SOFT, 1), DEALT)

    forget(client, NAME)
    assert size == 0


class Meddled(visual_memory.Memory):
    """A memory that someone else writes to at every query."""

    def classify(self, *images: Any, **question: Any) -> list[visual_memory.Decision]:
        decisions = super().classify(*images, **question)
        self.insert(vectors=np.eye(DEALT.memory.vectors.shape[1])[:1], labels=["bear"])
        return decisions


def test_a_state_that_changes_while_it_is_asked_is_refused(
    client: visual_memory.Client, memory: visual_memory.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = client.copy
    monkeypatch.setattr(client, "copy", lambda name, new: Meddled(client, copy(name, new).name))

    with pytest.raises(MemoryChanged, match=r"the state nothing 0 of seed 0 is not kept"):
        visited(client, memory, NOTHING)


def test_the_same_edit_gives_the_same_digest(
    client: visual_memory.Client, memory: visual_memory.Memory
) -> None:
    edit = Edit("cue-conflict", 2)

    one = visited(client, memory, edit)
    other = visited(client, remembered(client, NAME, DEALT), edit)

    assert one == other
