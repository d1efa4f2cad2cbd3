"""Counts are exact whatever is written while they are found, and few lists are kept for them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import Counts, Entry, Memory, RamCopy, unit_rows
from visual_memory_index.counting import KEPT_MAX, mend
from visual_memory_index.distances import exact_distances
from visual_memory_index.lists import NeighborLists
from visual_memory_index.store import new_identity

DIMENSION = 6


def random_units(count: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(count, DIMENSION)).astype(np.float32))


def to_entries(ids: list[str]) -> list[Entry]:
    return [Entry(id, random.Random(id).choice("abc")) for id in ids]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.sqlite"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    """2500 entries, more than are looked at together."""
    with closing(Memory.create(path, new_identity("m", DIMENSION, None))) as memory:
        memory.insert(to_entries([f"{at:05}" for at in range(2500)]), random_units(2500, 0))
        yield memory


def from_scratch(snapshot: RamCopy, k: int) -> dict[str, tuple[int, int]]:
    """Sort all others of every entry by exact distance and id."""
    ids, labels = snapshot.columns()
    order = np.argsort(ids)
    rows, labels = snapshot.vectors.gather(order), labels[order]
    v, c = np.zeros(len(ids), dtype=int), np.zeros(len(ids), dtype=int)
    for at, row in enumerate(rows):
        distances = exact_distances(row, rows)
        distances[at] = np.inf
        near = np.argsort(distances, kind="stable")[:k]
        right = labels[near] == labels[at]
        v[near[~right]] += 1
        c[near[right]] += 1
    return dict(zip(ids[order], zip(v.tolist(), c.tolist(), strict=True), strict=True))


def to_dict(counts: Counts) -> dict[str, tuple[int, int]]:
    columns = zip(counts.ids, counts.v.tolist(), counts.c.tolist(), strict=True)
    return {id: (v, c) for id, v, c in columns}


def writing(memory: Memory, times: int) -> Callable[[int, int], None]:
    """Inserts and deletes as long as it is told of progress, but so many times at most."""
    left = list(range(times))

    def told(done: int, total: int) -> None:
        if left:
            number = left.pop()
            fresh = random_units(40, 1 + number)
            fresh[::3] = fresh[0]
            memory.insert(to_entries([f"new {number} {at}" for at in range(40)]), fresh)
            memory.delete([f"{number * 7:05}"])

    return told


def kept(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {name for (name,) in db.execute("SELECT name FROM derived")}


@pytest.mark.parametrize("known", [False, True])
def test_counts_are_those_of_now_though_others_write_while_they_are_found(
    memory: Memory, known: bool
) -> None:
    if known:
        memory.misleading_counts(4)
        memory.insert(to_entries([f"more {at}" for at in range(600)]), random_units(600, 99))
    before = memory.revision

    found = memory.misleading_counts(4, writing(memory, 5))

    assert found.revision == memory.revision > before
    assert to_dict(found) == from_scratch(memory.snapshot(), 4)


def test_counts_of_a_snapshot_come_though_others_write_all_the_time(memory: Memory) -> None:
    snapshot = memory.snapshot()
    write = writing(memory, 100)
    told: list[tuple[int, int]] = []

    def busy(done: int, total: int) -> None:
        write(done, total)
        told.append((done, total))

    found = memory.misleading_counts(4, busy, snapshot=snapshot)

    assert told == sorted(told) != []
    assert memory.revision > found.revision == snapshot.revision
    assert to_dict(found) == from_scratch(snapshot, 4)
    assert to_dict(memory.misleading_counts(4)) == from_scratch(memory.snapshot(), 4)


def test_what_was_found_before_work_is_stopped_is_not_found_again(memory: Memory) -> None:
    def stop(done: int, total: int) -> None:
        raise InterruptedError

    asked: list[int] = []
    for snapshot in (memory.snapshot(), None):
        with pytest.raises(InterruptedError):
            memory.misleading_counts(4, stop, snapshot=snapshot)
    memory.misleading_counts(4, lambda done, total: asked.append(done))

    assert asked == []


def test_however_many_came_they_are_looked_at_some_at_a_time() -> None:
    ram = RamCopy(DIMENSION)
    ids = [f"{at:05}" for at in range(9000)]
    ram.stage(range(9000), ids, ["a"] * 9000, random_units(9000, 0))
    ram.publish(7000)
    lists = NeighborLists.unknown(3, ram.keys_of_rows())
    while mend(lists, ram):
        pass
    ram.publish(2000)
    lists = lists.adapted(ram.keys_of_rows())

    left = []
    while progress := mend(lists, ram):
        left.append((int(lists.new.sum()), int(lists.stale.sum()), progress))

    assert [new for new, _, _ in left[:2]] == [2000 - 1024, 0]
    assert left[0][2] == (0, 9000)
    assert [progress for *_, progress in left[1:]] == [(9000 - n, 9000) for _, n, _ in left[1:]]
    assert np.diff([progress[0] for *_, progress in left]).max() <= 9000 - left[1][1] + 1024
    again = NeighborLists.unknown(3, ram.keys_of_rows())
    while mend(again, ram):
        pass
    assert np.array_equal(np.sort(lists.lists), np.sort(again.lists))


def test_a_file_keeps_the_lists_of_the_few_k_that_were_found_last(
    memory: Memory, path: Path
) -> None:
    for k in range(1, 9):
        memory.misleading_counts(k)
        assert len(kept(path)) <= KEPT_MAX
    memory.close()
    for k in (9, 1):
        with closing(Memory.open(path)) as opened:
            opened.misleading_counts(k)

    assert kept(path) == {f"lists.{k}" for k in (1, 7, 8, 9)}


def test_lists_that_do_not_fit_the_entries_any_more_leave_the_file(
    memory: Memory, path: Path
) -> None:
    memory.misleading_counts(3)
    memory.misleading_counts(5)
    memory.delete([f"{at:05}" for at in range(1000, 2500)])
    memory.misleading_counts(5)

    memory.close()

    assert kept(path) == {"lists.5"}
    with closing(Memory.open(path)) as opened:
        assert opened.knows_counts(5)
        assert to_dict(opened.misleading_counts(3)) == from_scratch(opened.snapshot(), 3)
