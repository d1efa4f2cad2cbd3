"""Counts are exact despite writes while they are computed, and few lists are kept for them."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.databases import database_of

from visual_memory_index import Counts, Entry, Memory, Query, RamCopy, ScannedIndexes, unit_rows
from visual_memory_index.curation.misleading_counts import (
    KEPT_BYTES_MAX,
    KEPT_MAX,
    keep_within_bounds,
    missing_lists,
    update_lists,
)
from visual_memory_index.curation.neighbor_lists import NeighborLists
from visual_memory_index.errors import NotUndoable
from visual_memory_index.memory.engine import Engine
from visual_memory_index.rows.distances import fixed_sum
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.store import new_identity

DIMENSION = 6


def random_units(count: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(count, DIMENSION)).astype(np.float32))


def to_entries(ids: list[str]) -> list[Entry]:
    return [Entry(id, random.Random(id).choice("abc")) for id in ids]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.sqlite"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a memory of 2500 entries, more than are processed at once."""
    path = tmp_path_factory.mktemp("filled") / "m.sqlite"
    with closing(Memory.create(path, new_identity("m", DIMENSION, None))) as memory:
        memory.insert(to_entries([f"{at:05}" for at in range(2500)]), random_units(2500, 0))
    return path


@pytest.fixture
def memory(filled: Path, path: Path) -> Iterator[Memory]:
    """Open a copy of the memory of 2500 entries."""
    with closing(Memory.open(Path(shutil.copy(filled, path)))) as memory:
        yield memory


def from_scratch(snapshot: RamCopy, k: int) -> dict[str, tuple[int, int]]:
    """Count by sorting, for each entry, all others by exact distance and id."""
    ids, labels = snapshot.columns()
    order = np.argsort(ids)
    rows, labels = snapshot.vectors.gather(order), labels[order]
    v, c = np.zeros(len(ids), dtype=int), np.zeros(len(ids), dtype=int)
    wide = rows.astype(np.float64)
    for at, row in enumerate(wide):
        distances = np.clip(1.0 - fixed_sum(wide * row), 0.0, 2.0)
        distances[at] = np.inf
        near = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
        near = near[np.argsort(distances[near], kind="stable")][:k]
        right = labels[near] == labels[at]
        v[near[~right]] += 1
        c[near[right]] += 1
    return dict(zip(ids[order], zip(v.tolist(), c.tolist(), strict=True), strict=True))


def to_dict(counts: Counts) -> dict[str, tuple[int, int]]:
    columns = zip(counts.ids, counts.v.tolist(), counts.c.tolist(), strict=True)
    return {id: (v, c) for id, v, c in columns}


def writing(memory: Memory, times: int) -> Callable[[int, int], None]:
    """Return a progress function that inserts and deletes, in its first ``times`` calls."""
    left = list(range(times))

    def on_progress(done: int, total: int) -> None:
        if left:
            number = left.pop()
            fresh = random_units(40, 1 + number)
            fresh[::3] = fresh[0]
            memory.insert(to_entries([f"new {number} {at}" for at in range(40)]), fresh)
            memory.delete([f"{number * 7:05}"])

    return on_progress


def kept(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {name for (name,) in db.execute("SELECT name FROM derived WHERE name GLOB 'lists*'")}


def stop(done: int, total: int) -> None:
    raise InterruptedError


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
    on_progress: list[tuple[int, int]] = []

    def busy(done: int, total: int) -> None:
        write(done, total)
        on_progress.append((done, total))

    found = memory.misleading_counts(4, busy, snapshot=snapshot)

    assert on_progress == sorted(on_progress) != []
    assert memory.revision > found.revision == snapshot.revision
    assert to_dict(found) == from_scratch(snapshot, 4)
    assert to_dict(memory.misleading_counts(4)) == from_scratch(memory.snapshot(), 4)


def test_what_was_found_before_work_is_stopped_is_not_found_again(memory: Memory) -> None:
    asked: list[int] = []
    for snapshot in (memory.snapshot(), None):
        with pytest.raises(InterruptedError):
            memory.misleading_counts(4, stop, snapshot=snapshot)
    memory.misleading_counts(4, lambda done, total: asked.append(done))

    assert asked == []


def test_however_many_came_they_are_looked_at_some_at_a_time() -> None:
    ram = RamCopy(DIMENSION, ScannedIndexes())
    ids = [f"{at:05}" for at in range(9000)]
    vectors = random_units(9000, 0)
    ram.add(np.arange(7000), ids[:7000], ["a"] * 7000, vectors[:7000])
    lists = NeighborLists.unknown(3, ram.keys_of_rows())
    while update_lists(lists, ram):
        pass
    ram.add(np.arange(7000, 9000), ids[7000:], ["a"] * 2000, vectors[7000:])
    lists.follow(ram.keys_of_rows())

    left = []
    while progress := update_lists(lists, ram):
        left.append((int(lists.new.sum()), int(lists.stale.sum()), progress))

    assert [new for new, _, _ in left[:2]] == [2000 - 1024, 0]
    assert left[0][2] == (0, 9000)
    assert [progress for *_, progress in left[1:]] == [(9000 - n, 9000) for _, n, _ in left[1:]]
    assert np.diff([progress[0] for *_, progress in left]).max() <= 9000 - left[1][1] + 1024
    again = NeighborLists.unknown(3, ram.keys_of_rows())
    while update_lists(again, ram):
        pass
    assert np.array_equal(np.sort(lists.lists), np.sort(again.lists))


def test_lists_that_are_to_be_found_anyway_are_not_held_against_what_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ram = RamCopy(DIMENSION, ScannedIndexes())
    ids = [f"{at:05}" for at in range(3010)]
    vectors = random_units(3010, 0)
    ram.add(np.arange(3000), ids[:3000], ["a"] * 3000, vectors[:3000])
    lists = NeighborLists.unknown(3, ram.keys_of_rows())
    update_lists(lists, ram)
    ram.add(np.arange(3000, 3010), ids[3000:], ["a"] * 10, vectors[3000:])
    lists.follow(ram.keys_of_rows())
    stale, asked = lists.stale.copy(), list[NDArray[np.float32]]()
    affected_rows = ram.vectors.affected_rows

    def watched(came: NDArray[np.float32], bounds: NDArray[np.float32]) -> NDArray[np.bool_]:
        asked.append(bounds)
        return affected_rows(came, bounds)

    monkeypatch.setattr(ram.vectors, "affected_rows", watched)
    while update_lists(lists, ram):
        pass

    (bounds,) = asked
    assert 0 < np.count_nonzero(stale) < 3010
    assert np.array_equal(np.isinf(bounds), stale)


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


def test_lists_of_an_earlier_release_leave_the_file(memory: Memory, path: Path) -> None:
    memory.misleading_counts(4)
    memory.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE derived SET name = replace(name, 'lists.', 'lists.float32.')")
        db.execute("UPDATE derived SET name = replace(name, 'known.', 'known.float32.')")

    with closing(Memory.open(path)) as opened:
        opened.misleading_counts(4)

    assert kept(path) == {"lists.4"}


def test_counts_and_what_is_seen_beside_them_are_of_one_moment_whatever_is_written(
    memory: Memory,
) -> None:
    write = writing(memory, 300)

    counts, seen = memory._counting.get(4, write, lambda ram: (ram.revision, ram.columns()[0]))

    assert seen[0] == counts.revision == memory.revision
    assert seen[1].tolist() == counts.ids.tolist()


def test_counts_come_though_each_write_undoes_more_than_a_part_of_the_work(memory: Memory) -> None:
    fresh = random_units(100, 3)
    written: list[str] = []

    def on_progress(done: int, total: int) -> None:
        written.append(f"new {len(written)}")
        memory.insert(to_entries(written[-1:]), fresh[[len(written)]])

    found = memory.misleading_counts(1000, on_progress)

    assert found.revision == memory.revision
    assert len(written) < 50


def test_soft_votes_come_though_others_write_all_the_time(memory: Memory) -> None:
    over = threading.Event()

    def write() -> int:
        number = 0
        while not over.is_set():
            memory.insert(to_entries([f"one {number}"]), random_units(1, number))
            number += 1
        return number

    with ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(write)]
        try:
            query = Query(random_units(1, 5), 9, counts_k=10)
            answers = [threads.submit(memory.nearest, [query]).result(30) for _ in range(30)]
        finally:
            over.set()
        assert writers[0].result() > 0

    assert all(found.v is not None and found.v.shape == (1, 9) for (found,) in answers)


def test_counts_for_one_k_do_not_wait_for_those_of_another(memory: Memory) -> None:
    found: list[Counts] = []

    with ThreadPoolExecutor(1) as threads:

        def on_progress(done: int, total: int) -> None:
            if not found:
                found.append(threads.submit(memory.misleading_counts, 3).result(30))

        memory.misleading_counts(4, on_progress)

    assert to_dict(found[0]) == from_scratch(memory.snapshot(), 3)


@pytest.mark.parametrize("of_snapshot", [False, True])
def test_one_that_waits_for_another_with_its_k_can_be_stopped(
    memory: Memory, of_snapshot: bool
) -> None:
    snapshot = memory.snapshot() if of_snapshot else None
    stopped: list[BaseException | None] = []

    with ThreadPoolExecutor(1) as threads:

        def on_progress(done: int, total: int) -> None:
            if not stopped:
                other = threads.submit(memory.misleading_counts, 4, stop, snapshot=snapshot)
                stopped.append(other.exception(30))

        memory.misleading_counts(4, on_progress)

    assert isinstance(stopped[0], InterruptedError)


def grow(memory: Memory) -> None:
    """Fill a memory so that finding the 1000 nearest of all entries takes long."""
    memory.insert(to_entries([f"more {at:05}" for at in range(1600)]), random_units(1600, 1))


@pytest.fixture
def crowd(memory: Memory) -> Memory:
    grow(memory)
    return memory


@pytest.fixture(scope="module")
def crowd_with_lists(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a crowd that keeps the lists of the 1000 nearest."""
    path = Path(shutil.copy(filled, tmp_path_factory.mktemp("crowd")))
    with closing(Memory.open(path)) as memory:
        grow(memory)
        memory.misleading_counts(1000)
    return path


def test_lists_are_known_where_few_edits_have_to_be_made_up_for(crowd: Memory) -> None:
    assert not crowd.knows_counts(1000)
    crowd.misleading_counts(1000)
    assert crowd.knows_counts(1000)

    crowd.delete(["00001"])
    assert crowd.knows_counts(1000)
    crowd.insert(to_entries(["new"]), random_units(1, 7))
    assert crowd.knows_counts(1000)
    crowd.insert(to_entries([f"new {at}" for at in range(600)]), random_units(600, 8))
    assert not crowd.knows_counts(1000)


def test_lists_of_entries_that_were_all_replaced_are_not_known(
    crowd_with_lists: Path, path: Path
) -> None:
    with closing(Memory.open(Path(shutil.copy(crowd_with_lists, path)))) as crowd:
        assert crowd.knows_counts(1000)
        ids = [entry.id for entry in crowd.entries(limit=9999).entries]
        crowd.insert(to_entries(ids), random_units(len(ids), 9), replace_existing=True)

        assert not crowd.knows_counts(1000)
    with closing(Memory.open(path)) as opened:
        assert not opened.knows_counts(1000)


def test_lists_of_which_half_were_found_are_not_known(crowd: Memory, path: Path) -> None:
    with pytest.raises(InterruptedError):
        crowd.misleading_counts(1000, stop)

    assert not crowd.knows_counts(1000)
    crowd.close()
    assert kept(path) == {"lists.1000"}
    with closing(Memory.open(path)) as opened:
        assert not opened.knows_counts(1000)


def test_damaged_lists_are_not_known_and_are_kept_again_once_they_are_found(
    crowd_with_lists: Path, path: Path
) -> None:
    shutil.copy(crowd_with_lists, path)
    assert kept(path) == {"lists.1000"}
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE derived SET value = zeroblob(length(value)) WHERE name GLOB 'lists*'")

    for known in (False, True):
        with closing(Memory.open(path)) as opened:
            assert opened.knows_counts(1000) == known
            opened.misleading_counts(1000)


class WatchedStore(SqliteStore):
    """A store that notes the names of derived data as they are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.names_read: list[str] = []

    def derived(self, name: str) -> bytes | None:
        self.names_read.append(name)
        return super().derived(name)


def test_stored_lists_are_read_once_however_many_ask(memory: Memory, path: Path) -> None:
    memory.misleading_counts(4)
    memory.close()
    store = WatchedStore(path)

    with closing(Memory(Engine(store, store, lambda: False, None))) as opened:
        with ThreadPoolExecutor(6) as threads:
            known = [*threads.map(opened.knows_counts, [4] * 12)]
            list(threads.map(opened.misleading_counts, [4] * 6))
        opened.delete(["00007"])
        assert opened.knows_counts(4)

    assert known == [True] * 12
    assert store.names_read.count("lists.4") == 1


def test_what_is_to_be_found_is_what_is_missing_and_around_what_came_or_left() -> None:
    keys = np.arange(100, 200)

    assert missing_lists(5, keys, keys) == 0
    assert missing_lists(5, keys[:-1], keys) == 6
    assert missing_lists(5, keys, keys[1:]) == 5
    assert missing_lists(5, np.empty(0, dtype=np.int64), keys) == 100


def test_few_lists_are_kept_and_a_large_one_leaves_no_room_for_older_ones() -> None:
    assert keep_within_bounds({k: 1 for k in range(9, 0, -1)}) == {9, 8, 7, 6}
    assert keep_within_bounds({3: KEPT_BYTES_MAX - 5, 2: 5, 1: 1}) == {3, 2}
    assert keep_within_bounds({3: 2 * KEPT_BYTES_MAX, 2: 1}) == {3}


def test_a_memory_that_is_dropped_writes_no_lists(memory: Memory, path: Path) -> None:
    memory.misleading_counts(4)

    memory.close(keep=False)

    assert kept(path) == set()


@pytest.mark.parametrize("of_snapshot", [False, True])
def test_nothing_found_before_an_erasure_is_kept_after_it(
    memory: Memory, path: Path, of_snapshot: bool
) -> None:
    memory.misleading_counts(4)
    memory.insert(to_entries([f"more {at}" for at in range(600)]), random_units(600, 99))
    snapshot = memory.snapshot() if of_snapshot else None
    ram = memory._engine.ram
    (gone,) = ram.keys_of_rows()[ram.rows_of_ids(["00007"])]
    erased: list[str] = []

    def on_progress(done: int, total: int) -> None:
        if not erased:
            name = memory.unlearning.begin(["00007"], allow_missing=False).operation.name
            memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")
            memory.operations.end(name, "done", result="{}")
            erased.append(name)

    found = memory.misleading_counts(4, on_progress, snapshot=snapshot)

    assert ("00007" in found.ids) == of_snapshot
    kept_lists = memory._counting._lists
    assert all("00007" not in each.ids for each in memory._counting._counts.values())
    assert all(gone not in each.keys for each in kept_lists.values())
    assert bool(kept_lists) == (not of_snapshot)
    if not of_snapshot:
        assert to_dict(found) == from_scratch(memory.snapshot(), 4)
    memory.close()
    assert kept(path) == (set() if of_snapshot else {"lists.4"})


def test_undoing_a_prune_that_failed_on_a_full_disk_says_that_it_failed(memory: Memory) -> None:
    name = memory.operations.begin("prune").operation.name
    writer = database_of(memory)._writer
    writer.execute("PRAGMA max_page_count = 1")
    memory.operations.end(name, "failed", problem="x" * 100_000)

    with pytest.raises(NotUndoable, match="its kind is prune and its state failed; only"):
        memory.operations.undo(name)


def test_counts_that_name_an_erased_entry_do_not_come_back_when_work_is_stopped(
    memory: Memory,
) -> None:
    memory.misleading_counts(4)
    memory.insert(to_entries([f"more {at}" for at in range(600)]), random_units(600, 99))

    def on_progress(done: int, total: int) -> None:
        name = memory.unlearning.begin(["00007"], allow_missing=False).operation.name
        memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")
        raise InterruptedError

    with pytest.raises(InterruptedError):
        memory.misleading_counts(4, on_progress)

    assert memory._counting._counts == {}
