"""After any edits, prunes, relabels and undos, counts are those of a new memory."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from numpy.typing import NDArray
from tests.conftest import folder_in_ram

from visual_memory_index import Entry, Memory, Query, unit_rows
from visual_memory_index.errors import NotUndoable, UnknownEntries
from visual_memory_index.rows.distances import exact_distances
from visual_memory_index.store.store import new_identity

CURATIONS = int(os.environ.get("CURATIONS", "20"))
IDS = [f"{number:02}" for number in range(30)]
LABELS = ["cat", "dog", "owl"]
# Few directions, so that many entries are equally near and ids decide.
VECTORS = unit_rows(np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32))

ids = st.sampled_from(IDS)
labels = st.sampled_from(LABELS)
directions = st.integers(0, len(VECTORS) - 1)
some_ids = st.lists(ids, min_size=1, max_size=8, unique=True)


@dataclass
class Kept:
    """The oracle's record of an entry; ``setter`` is the relabel that set its label."""

    label: str
    direction: int
    pruned_by: str = ""
    setter: str = ""


@dataclass
class Undoable:
    """A prune, or a relabel with the labels and setters before it."""

    kind: str
    before: dict[str, tuple[Kept, str, str]] = field(default_factory=dict)
    undone: bool = False


def counted(voting: dict[str, Kept], k: int) -> dict[str, tuple[int, int]]:
    """Count from scratch: sort all others by exact distance and id."""
    v, c = dict.fromkeys(voting, 0), dict.fromkeys(voting, 0)
    for query, kept in voting.items():
        others = sorted(id for id in voting if id != query)
        rows = VECTORS[[voting[id].direction for id in others]]
        distances = exact_distances(VECTORS[kept.direction], rows)
        for at in np.argsort(distances, kind="stable")[:k]:
            mine = voting[others[at]].label == kept.label
            (c if mine else v)[others[at]] += 1
    return {id: (v[id], c[id]) for id in voting}


class CurationMachine(RuleBasedStateMachine):
    """Edits a memory at random; ``model`` is the oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = folder_in_ram()
        self.path = Path(self.folder.name) / "m.sqlite"
        self.memory = Memory.create(self.path, new_identity("m", 4, None))
        self.model: dict[str, Kept] = {}
        self.operations: dict[str, Undoable] = {}

    def teardown(self) -> None:
        self.memory.close()
        self.folder.cleanup()

    @property
    def voting(self) -> dict[str, Kept]:
        return {id: kept for id, kept in self.model.items() if not kept.pruned_by}

    @rule(batch=st.lists(st.tuples(ids, labels, directions), max_size=12, unique_by=lambda e: e[0]))
    def insert(self, batch: list[tuple[str, str, int]]) -> None:
        entries = [Entry(id, label) for id, label, _ in batch]
        rows = VECTORS[[direction for *_, direction in batch]]
        self.memory.insert(entries, rows, replace_existing=True)
        self.model |= {id: Kept(label, direction) for id, label, direction in batch}

    @rule(gone=some_ids)
    def delete(self, gone: list[str]) -> None:
        self.memory.delete(gone, allow_missing=True)
        for id in gone:
            self.model.pop(id, None)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), label=labels)
    def update(self, data: st.DataObject, label: str) -> None:
        id = data.draw(st.sampled_from(sorted(self.model)))
        self.memory.update(id, label=label)
        if self.model[id].label != label:
            self.model[id].label, self.model[id].setter = label, ""

    @rule(data=st.data())
    def prune(self, data: st.DataObject) -> None:
        chosen = (
            data.draw(st.lists(st.sampled_from(sorted(self.voting)), unique=True))
            if (self.voting)
            else []
        )
        operation = self.memory.operations.begin("prune").operation.name
        self.memory.operations.prune(chosen, operation=operation, result=str)
        self.operations[operation] = Undoable("prune")
        for id in chosen:
            self.model[id].pruned_by = operation

    @rule(wanted=st.dictionaries(ids, labels, min_size=1, max_size=6))
    def relabel(self, wanted: dict[str, str]) -> None:
        if set(wanted) - set(self.model):
            with pytest.raises(UnknownEntries):
                self.memory.operations.relabel(wanted, result=str)
            return
        operation = self.memory.operations.relabel(wanted, result=str).name
        done = self.operations[operation] = Undoable("relabel")
        for id, label in wanted.items():
            kept = self.model[id]
            if kept.label != label:
                done.before[id] = (kept, kept.label, kept.setter)
                kept.label, kept.setter = label, operation

    @precondition(lambda self: self.operations)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.operations)))
        operation = self.operations[name]
        if operation.undone:
            with pytest.raises(NotUndoable, match="undone before"):
                self.memory.operations.undo(name)
            return
        restored = self.memory.operations.undo(name)
        operation.undone = True
        if operation.kind == "prune":
            expected = [id for id, kept in self.model.items() if kept.pruned_by == name]
            for id in expected:
                self.model[id].pruned_by = ""
        else:
            expected = []
            for id in operation.before:
                setter = name
                while (undone := self.operations.get(setter)) and undone.undone:
                    kept, label, before = undone.before[id]
                    if self.model.get(id) is not kept or kept.setter != setter:
                        break
                    kept.label, kept.setter = label, before
                    expected.append(id)
                    setter = before
            expected = sorted(set(expected))
        assert sorted(restored) == sorted(expected)

    @rule()
    def reopen(self) -> None:
        self.memory.close()
        self.memory = Memory.open(self.path)

    @rule(k=st.sampled_from([1, 2, 3, 7, 100]))
    def counts(self, k: int) -> None:
        found = self.memory.misleading_counts(k)

        columns = zip(found.ids, found.v.tolist(), found.c.tolist(), strict=True)
        assert {id: (v, c) for id, v, c in columns} == counted(self.voting, k)

    @rule()
    def entries(self) -> None:
        stored = self.memory.entries(limit=99).entries

        assert {entry.id: (entry.label, entry.pruned_by) for entry in stored} == {
            id: (kept.label, kept.pruned_by) for id, kept in self.model.items()
        }
        info = self.memory.info()
        assert (info.count, info.pruned_count) == (len(self.model), len(stored) - self.memory.count)
        assert sum(info.pruned_counts.values()) == info.pruned_count

    @rule(direction=directions, k=st.integers(1, 9))
    def nearest(self, direction: int, k: int) -> None:
        voting = sorted(self.voting)
        (found,) = self.memory.nearest([Query(VECTORS[[direction]], k, counts_k=2)])

        rows = VECTORS[[self.voting[id].direction for id in voting]]
        order = np.argsort(exact_distances(VECTORS[direction], rows), kind="stable")[:k]
        expected = [voting[at] for at in order]
        assert found.ids[0].tolist() == expected
        assert found.v is not None
        counts = counted(self.voting, 2)
        assert found.v[0].tolist() == [counts[id][0] for id in expected]


def test_counts_and_undo_are_exact_whatever_happened() -> None:
    run_state_machine_as_test(
        CurationMachine, settings=settings(max_examples=CURATIONS, stateful_step_count=40)
    )


Edit = tuple[str, Any, Any]
edits = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.lists(st.tuples(ids, labels, directions)), st.none()),
        st.tuples(st.just("delete"), some_ids, st.none()),
        st.tuples(st.just("update"), ids, labels),
    ),
    max_size=12,
)


def edit(memory: Memory, steps: list[Edit]) -> None:
    """Apply these steps to a memory, skipping updates of missing entries."""
    for kind, first, second in steps:
        if kind == "insert":
            batch = {id: (label, direction) for id, label, direction in first}
            rows = VECTORS[[direction for _, direction in batch.values()]]
            entries = [Entry(id, label) for id, (label, _) in batch.items()]
            memory.insert(entries, rows, replace_existing=True)
        elif kind == "delete":
            memory.delete(first, allow_missing=True)
        elif memory.entries(limit=1, after=first[:-1]).entries and any(
            entry.id == first for entry in memory.entries(limit=99).entries
        ):
            memory.update(first, label=second)


def state(memory: Memory) -> tuple[object, ...]:
    """Return all that can be read from a memory, except create times."""
    stored = [(e.id, e.label, e.pruned_by) for e in memory.entries(limit=99).entries]
    (found,) = memory.nearest([Query(VECTORS, 50)]) if memory.count else (None,)
    answers = (found.ids.tolist(), found.labels.tolist(), found.distances.tolist()) if found else ()
    return (stored, answers, memory.info().label_counts)


@settings(max_examples=80)
@given(before=edits, pruned=some_ids, after=edits)
def test_after_an_undo_a_memory_is_as_if_it_had_never_been_pruned(
    before: list[Edit], pruned: list[str], after: list[Edit]
) -> None:
    with folder_in_ram() as folder:
        paths = [Path(folder) / name for name in ("a.sqlite", "b.sqlite")]
        memories = [Memory.create(path, new_identity("m", 4, None)) for path in paths]
        with closing(memories[0]) as pruning, closing(memories[1]) as plain:
            for memory in memories:
                edit(memory, before)
            voting = [*compress(pruned, pruning.votes(pruned))]
            operation = pruning.operations.begin("prune").operation.name
            pruning.operations.prune(voting, operation=operation, result=str)
            for memory in memories:
                edit(memory, after)
            pruning.operations.undo(operation)

            assert state(pruning) == state(plain)


def test_lists_that_do_not_fit_the_file_are_found_anew(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows: NDArray[np.float32] = unit_rows(rng.normal(size=(200, 4)).astype(np.float32))
    path = tmp_path / "m.sqlite"
    with closing(Memory.create(path, new_identity("m", 4, None))) as memory:
        memory.insert([Entry(f"{n:03}", LABELS[n % 3]) for n in range(200)], rows)
        right = memory.misleading_counts(5)
    with closing(Memory.open(path)) as memory:
        memory._engine.store.keep_derived("lists.float32.5", b"not what was kept")

    with closing(Memory.open(path)) as memory:
        assert memory.misleading_counts(5).v.tolist() == right.v.tolist()
