"""A large removal is applied in parts: searches between them find what is left at the end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import Entry, Memory, parse, unit_rows
from visual_memory_index.errors import CorruptCopy
from visual_memory_index.memory.search import search
from visual_memory_index.ram import ram_copy
from visual_memory_index.ram.change import Change
from visual_memory_index.ram.columns import Columns
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.filter import Filter
from visual_memory_index.records.neighbors import Neighbors, Query, Shown
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.vectors import Originals
from visual_memory_index.store.store import new_identity

COUNT, D = 600, 12
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((COUNT, D)).astype(np.float32))
IDS = [f"{number:03}" for number in range(COUNT)]
LABELS = ["cat" if number % 3 else "dog" for number in range(COUNT)]
GONE = {
    "half": IDS[::2],
    "all": IDS,
    "all but one": IDS[1:],
    "the last": IDS[300:],
    "the first": IDS[:300],
    "one more than a part": IDS[100:108],
    "at random": [IDS[at] for at in np.random.default_rng(1).choice(COUNT, 400, replace=False)],
}
QUERIES = VECTORS[:3]


def parsed(text: str) -> Filter:
    filter = parse(text)
    assert filter is not None
    return filter


def asked() -> list[Query]:
    """Return queries of each kind that searches have."""
    return [
        Query(QUERIES, 5, sizes=True),
        Query(QUERIES, 2000),
        Query(QUERIES, 5, parsed('label = "dog"'), sizes=True),
        Query(QUERIES, 5, parsed('NOT label = "dog"')),
        Query(QUERIES, 5, parsed('id >= "2"')),
        Query(QUERIES, 5, None, [*IDS[:9]], sizes=True),
        Query(QUERIES, 2000, parsed('label = "cat"'), IDS[90:110]),
    ]


def answers(memory: Memory) -> list[object]:
    """Return all that a memory answers to these queries, and its counts."""
    return told(memory.nearest(asked()), memory._engine.ram)


def told(found: Sequence[Neighbors], ram: RamCopy) -> list[object]:
    """Return all neighbours that were ``found``, and the counts of entries."""
    said: list[object] = [
        (each.ids.tolist(), each.labels.tolist(), each.distances.tobytes(), sizes(each.sizes))
        for each in found
    ]
    counts = ({**each} for each in (ram.label_counts, ram.pruned_counts))
    return [*said, *counts, ram.voting_count, ram.shown]


def content(told: list[object]) -> list[object]:
    """Return what was ``told`` but for the revision."""
    *said, shown = told
    assert isinstance(shown, Shown)
    return [*said, shown.digest]


def sizes(found: NDArray[np.int64] | None) -> object:
    return None if found is None else found.tolist()


@pytest.fixture(params=["ram", "disk"])
def memory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Memory]:
    monkeypatch.setattr(ram_copy, "PART_ROWS", 7)
    originals: Originals = request.param
    indexes, identity = ScannedIndexes(2, originals), new_identity("pets", D, None)
    with closing(Memory.create(tmp_path / "m.sqlite", identity, indexes=indexes)) as memory:
        memory.insert(list(map(Entry, IDS, LABELS)), VECTORS)
        yield memory


def watched(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[list[object]]:
    """Return a list of the answers and counts between the parts of changes, as they are made."""
    between, apply = list[list[object]](), RamCopy.apply

    def watched(ram: RamCopy, change: Change) -> Iterator[None]:
        for _ in apply(ram, change):
            found = search(asked(), ram, memory._engine.store)
            assert found is not None
            assert memory.revision == ram.shown.revision
            between.append(told([each.neighbors for each in found], ram))
            yield

    monkeypatch.setattr(RamCopy, "apply", watched)
    return between


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
def test_between_two_parts_of_an_undo_searches_find_what_they_found_before(
    memory: Memory, gone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = answers(memory)
    name = memory.operations.begin("prune").operation.name
    memory.operations.prune(gone, operation=name, result=lambda ids: "{}")
    before = answers(memory)
    between = watched(memory, monkeypatch)

    memory.operations.undo(name)

    parts, after = (len(gone) - 1) // 7, answers(memory)
    assert between == parts * [before] + parts * [after]
    assert memory._engine.ram.hidden is None
    assert content(after) == content(every)
    memory.check()


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
@pytest.mark.parametrize("call", [Memory.delete, None], ids=["delete", "prune"])
def test_between_two_parts_searches_find_what_they_find_in_the_end(
    memory: Memory,
    gone: list[str],
    call: Callable[[Memory, list[str]], object] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    between = watched(memory, monkeypatch)
    if call is not None:
        call(memory, gone)
    else:
        name = memory.operations.begin("prune").operation.name
        memory.operations.prune(gone, operation=name, result=lambda ids: "{}")
    expected = answers(memory)

    assert len(between) == (len(gone) - 1) // 7
    assert all(each == expected for each in between)
    assert memory._engine.ram.hidden is None
    memory.check()


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
def test_between_two_parts_nothing_is_left_of_pruned_entries_that_go_with_others(
    memory: Memory, gone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = memory.operations.begin("prune").operation.name
    memory.operations.prune(gone[:-1:3], operation=name, result=lambda ids: "{}")
    between = watched(memory, monkeypatch)

    memory.delete(gone)

    expected = answers(memory)
    pruned = len(gone[:-1:3])
    assert len(between) == (pruned - 1) // 7 + (len(gone) - pruned - 1) // 7
    assert all(each == expected for each in between)
    memory.check()


def test_readers_come_between_the_parts_and_see_all_or_nothing(memory: Memory) -> None:
    before = answers(memory)
    came, over, engine = Counter[str](), threading.Event(), memory._engine
    expected = list[list[object]]()

    def search() -> None:
        while not over.is_set():
            with engine.searching_ram() as ram:
                came["between"] += ram.hidden is not None
            (found,) = memory.nearest([Query(QUERIES, 600)])
            came[f"{len(found.ids[0])} found"] += 1

    def list_all() -> None:
        while not over.is_set():
            came[f"{len(memory.ids())} listed"] += 1

    with ThreadPoolExecutor(3) as threads:
        reading = [threads.submit(each) for each in (search, search, list_all)]
        try:
            for _ in range(6):
                memory.delete(IDS[::2])
                expected.append(content(answers(memory)))
                memory.insert(list(map(Entry, IDS[::2], LABELS[::2])), VECTORS[::2])
                assert content(answers(memory)) == content(before)
        finally:
            over.set()
        for each in reading:
            each.result()

    assert all(each == expected[0] for each in expected)
    assert came.pop("between") > 6
    assert set(came) == {f"{count} {how}" for count in (300, 600) for how in ("found", "listed")}


def test_an_error_between_two_parts_has_all_read_anew(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [0]
    remove = RamCopy._remove

    def fail(ram: RamCopy, rows: NDArray[np.intp]) -> None:
        calls[0] += 1
        if calls[0] == 5:
            raise MemoryError
        remove(ram, rows)

    with monkeypatch.context() as patch:
        patch.setattr(RamCopy, "_remove", fail)
        with pytest.raises(MemoryError):
            memory.delete(IDS[::2])

    assert memory.count == 300
    assert memory._engine.ram.hidden is None
    memory.check()


@pytest.mark.parametrize("wait", ["whole", "lock", "let_in"])
def test_where_memory_runs_out_for_the_wait_for_readers_the_memory_is_refused(
    memory: Memory, wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is on disk, and not in RAM."""

    def no_memory(*_: object) -> None:
        raise RuntimeError("can't allocate lock")

    lock = memory._engine.whole if wait == "whole" else memory._engine.lock
    writing, sound = memory._engine.whole.writing, list[bool]()

    @contextmanager
    def watched() -> Iterator[None]:
        with writing():
            try:
                yield
            finally:
                sound.append(memory._engine.is_sound)

    with monkeypatch.context() as patch:
        patch.setattr(memory._engine.whole, "writing", watched)
        patch.setattr(lock, "let_in" if wait == "let_in" else "writing", no_memory)
        with pytest.raises(RuntimeError):
            memory.delete(IDS[::2])

    assert sound == ([] if wait == "whole" else [False])  # before others may enter
    assert not memory._engine.is_sound
    with pytest.raises(CorruptCopy):
        memory.nearest([Query(QUERIES, 5)])
    with pytest.raises(CorruptCopy):
        memory.delete(IDS[1:2])


def test_heads_are_those_of_the_entries_left(memory: Memory) -> None:
    query = Query(QUERIES, 5, head=True, ridge=0.1)

    def scores(memory: Memory) -> bytes:
        (found,) = memory.nearest([query])
        assert found.score is not None
        return found.score().scores.tobytes()

    scores(memory)
    memory.delete(IDS[:50])
    after = scores(memory)
    memory.close()

    with closing(Memory.open(memory.path)) as again:
        assert scores(again) == after


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
def test_the_number_of_voting_entries_is_right_inside_of_a_part(
    memory: Memory, gone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set[int]()

    def seeing(function: Callable[..., None]) -> Callable[..., None]:
        def watched(*arguments: object) -> None:
            seen.add(memory.count)  # which takes no lock
            function(*arguments)
            seen.add(memory.count)

        return watched

    for name in ("remove", "append"):
        monkeypatch.setattr(Columns, name, seeing(getattr(Columns, name)))

    def counts(change: Callable[[], object]) -> set[int]:
        seen.clear()
        change()
        return set(seen)

    left, operations = COUNT - len(gone), memory.operations
    name = operations.begin("prune").operation.name
    assert counts(lambda: operations.prune(gone, operation=name, result=str)) == {left}
    assert counts(lambda: operations.undo(name)) == {left, COUNT}
    some = [Entry(id, "owl") for id in gone]
    replace = partial(memory.insert, some, VECTORS[: len(gone)], replace_existing=True)
    assert counts(replace) == {COUNT}
    assert counts(lambda: memory.delete(gone)) == {left}


def test_a_filter_that_reads_the_file_waits_for_a_write_that_waits_for_readers(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, committed = memory._engine, threading.Event()
    times, keys, publish = [0], engine.store.keys, engine.writer._publish

    def counted(filter: Filter) -> tuple[int, NDArray[np.int64]]:
        times[0] += 1
        assert times[0] < 100
        return keys(filter)

    def told(changes: Sequence[Change]) -> None:
        committed.set()
        publish(changes)

    monkeypatch.setattr(engine.store, "keys", counted)
    monkeypatch.setattr(engine.writer, "_publish", told)
    with ThreadPoolExecutor(2) as threads:
        with engine.reading_ram():
            deleting = threads.submit(memory.delete, ["005"])
            assert committed.wait(10)
            searching = threads.submit(memory.nearest, [Query(QUERIES, 600, parsed('id >= "0"'))])
            assert not wait([searching], 0.3).done
        deleting.result()
        (found,) = searching.result()

    assert len(found.ids[0]) == COUNT - 1


def test_searches_go_on_while_an_erasure_waits_for_a_long_reader(memory: Memory) -> None:
    engine, began = memory._engine, threading.Event()

    def cut() -> None:
        began.set()
        assert memory.unlearning._cut_log()

    with ThreadPoolExecutor(2) as threads:
        with engine.reading_ram():
            cutting = threads.submit(cut)
            assert began.wait(10)
            wait([cutting], 0.2)
            searching = threads.submit(memory.nearest, [Query(QUERIES, 5)])
            assert len(searching.result(10)) == 1
            assert not cutting.done()
        cutting.result()
