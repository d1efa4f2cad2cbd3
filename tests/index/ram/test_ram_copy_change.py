"""A copy that applies the changes of a memory, in order, holds what the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Entry, Memory, RamCopy, parse, unit_rows
from visual_memory_index.memory.engine import Engine
from visual_memory_index.ram.change import Change
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.store import new_identity

VECTORS = unit_rows(np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32))


class FollowedEngine(Engine):
    """An engine that records every change that readers see."""

    changes: list[Change]

    def _publish(self, changes: Sequence[Change]) -> None:
        super()._publish(changes)
        self.changes += changes


def entries(ids: str, label: str) -> tuple[list[Entry], NDArray[np.float32]]:
    return [Entry(id, label) for id in ids], VECTORS[: len(ids)]


def prune(memory: Memory, *ids: str) -> str:
    name = memory.operations.begin("prune").operation.name
    memory.operations.prune(ids, operation=name, result=str)
    return name


def unlearn(memory: Memory, *ids: str) -> None:
    name = memory.unlearning.begin(ids, allow_missing=False).operation.name
    memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")


def state(ram: RamCopy) -> object:
    """Return all that a copy holds, in any order of rows."""
    ids, labels = ram.columns()
    vectors = ram.vectors.gather(np.arange(len(ram)))
    rows = zip(ram.keys_of_rows().tolist(), ids, labels, map(bytes, vectors), strict=True)
    pruned = map(tuple, zip(*(each.tolist() for each in ram.pruned.listing()), strict=True))
    return ram.revision, sorted(rows), sorted(pruned), ram.label_counts, ram.pruned_counts


def test_a_follower_holds_after_each_change_what_the_memory_holds(tmp_path: Path) -> None:
    label = parse('label = "owl"')
    assert label is not None
    names: list[str] = []
    writes: list[Callable[[Memory], object]] = [
        lambda memory: memory.insert(*entries("abcdef", "cat")),
        lambda memory: names.append(prune(memory, "b", "c")),
        lambda memory: memory.insert(*entries("ba", "dog"), replace_existing=True),
        lambda memory: memory.update("c", label="owl"),
        lambda memory: memory.operations.undo(names[0]),
        lambda memory: names.append(
            memory.operations.relabel({"d": "owl", "e": "dog"}, result=str).name
        ),
        lambda memory: memory.operations.undo(names[1]),
        lambda memory: prune(memory, "f"),
        lambda memory: memory.delete(["d", "f"]),
        lambda memory: memory.purge(label),
        lambda memory: unlearn(memory, "a"),
    ]
    follower = RamCopy(4, ScannedIndexes())
    store = SqliteStore.create(tmp_path / "m.sqlite", new_identity("m", 4, None))
    engine = FollowedEngine(store, store, lambda: False, None)
    with closing(Memory(engine)) as memory:
        for number, write in enumerate(writes, 1):
            engine.changes = []
            write(memory)

            (change,) = engine.changes
            assert list(follower.apply(change)) == []

            assert change.revision == memory.revision == number
            assert change.digest == memory.info().digest
            assert state(follower) == state(engine.ram)

    assert sorted(follower.columns()[0]) == ["b", "e"]
