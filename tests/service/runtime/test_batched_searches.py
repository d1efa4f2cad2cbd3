"""Searches of one memory take turns: large ones by parts, small ones at once where none waits."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from visual_memory_index import (
    Catalog,
    Entry,
    Memory,
    Neighbors,
    Query,
    ScannedIndexes,
    unit_rows,
)
from visual_memory_index.errors import MemoryClosed
from visual_memory_index.records.neighbors import NOT_OF_A_MEMORY
from visual_memory_index.store.store import new_identity
from visual_memory_service.runtime.searches import (
    ONE_STATE,
    PART,
    PART_MIN,
    TOGETHER,
    Searches,
    part_of,
)

ROWS, LARGE = 9000, 4 * TOGETHER  # so many that no search is done at once
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((ROWS, 512)).astype(np.float32))
QUERIES = VECTORS[:LARGE]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    path = tmp_path_factory.mktemp("crowd") / "m.sqlite"
    with closing(Memory.create(path, new_identity("m", 512, None))) as memory:
        entries = [Entry(f"{at:05}", f"label {at % 9}") for at in range(ROWS)]
        memory.insert(entries, VECTORS)
        yield memory


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Memory]:
    with closing(Memory.create(tmp_path / "m.sqlite", new_identity("m", 512, None))) as memory:
        memory.insert([Entry(f"{at:05}", f"label {at % 9}") for at in range(200)], VECTORS[:200])
        yield memory


def bits(found: Neighbors) -> tuple[list[list[str]], bytes]:
    return found.ids.tolist(), found.distances.tobytes()


def test_a_large_query_is_found_as_if_whole(crowd: Memory) -> None:
    (whole,) = crowd.nearest([Query(QUERIES, 5)])

    async def ask() -> list[Neighbors]:
        searches = Searches(crowd)
        small = (searches.nearest(Query(QUERIES[at : at + 1], 5)) for at in range(40))
        return await asyncio.gather(searches.nearest(Query(QUERIES, 5)), *small)

    found, *small = asyncio.run(ask())

    assert bits(found) == bits(whole)
    for at, each in enumerate(small):
        assert bits(each) == ([whole.ids[at].tolist()], whole.distances[at].tobytes())


def test_a_small_query_waits_for_a_part_of_a_large_one(crowd: Memory) -> None:
    order = list[str]()

    async def ask(name: str, searches: Searches, queries: Query) -> None:
        await searches.nearest(queries)
        order.append(name)

    async def both() -> None:
        searches = Searches(crowd)
        async with asyncio.TaskGroup() as group:
            for name in ("first", "second"):
                group.create_task(ask(name, searches, Query(QUERIES, 5)))
            await asyncio.sleep(0)
            group.create_task(ask("small", searches, Query(QUERIES[:1], 5)))

    asyncio.run(both())

    assert order[0] == "small"
    assert LARGE > 2 * PART


async def ask_by_turns(searches: Searches, callers: int, times: int, pause: float) -> None:
    """Have callers ask for one vector each again and again, with a pause between two calls."""

    async def ask(at: int) -> None:
        for _ in range(times):
            await searches.nearest(Query(QUERIES[at : at + 1], 5))
            await asyncio.sleep(pause)

    await asyncio.gather(*map(ask, range(callers)))


def counted(monkeypatch: pytest.MonkeyPatch, searches: Searches) -> Counter[str]:
    """Count the searches and the pauses before them, from now on."""
    loop, count = asyncio.get_running_loop(), Counter[str]()
    run, call = loop.run_in_executor, loop.call_at

    def count_search(*args: object) -> object:
        count["searches"] += 1
        return run(*args)  # type: ignore[arg-type]

    def count_pause(when: float, callback: object, *args: object, **more: object) -> object:
        count["pauses"] += callback == searches._wait
        return call(when, callback, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "run_in_executor", count_search)
    monkeypatch.setattr(loop, "call_at", count_pause)
    return count


def test_callers_who_ask_again_at_once_are_waited_for(
    crowd: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> Counter[str]:
        searches = Searches(crowd)
        count = counted(monkeypatch, searches)
        await ask_by_turns(searches, callers=16, times=30, pause=0)
        return count

    count = asyncio.run(ask())

    assert count["searches"] < 16 * 30 / 8


def test_callers_who_pause_are_not_waited_for(
    crowd: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> Counter[str]:
        searches = Searches(crowd)
        count = counted(monkeypatch, searches)
        await ask_by_turns(searches, callers=8, times=40, pause=0.1)
        return count

    count = asyncio.run(ask())

    assert count["searches"] >= 40
    assert 0 < count["pauses"] < count["searches"] / 2


@pytest.mark.parametrize(
    ("own", "others", "part"),
    [(256, 0, TOGETHER), (5, 0, 5), (256, 1, PART_MIN), (256, 9, 9), (256, 256, PART), (1, 256, 1)],
)
def test_a_part_of_a_query_is_as_large_as_what_it_delays(own: int, others: int, part: int) -> None:
    assert part_of(own, others) == part


def test_a_large_query_that_nobody_waits_for_is_searched_no_further(crowd: Memory) -> None:
    async def ask() -> float:
        searches, loop = Searches(crowd), asyncio.get_running_loop()
        many = Query(np.repeat(QUERIES, 64, axis=0), 5)
        began = loop.time()
        await searches.nearest(Query(QUERIES, 5))
        one = loop.time() - began
        asking = asyncio.create_task(searches.nearest(many))
        await asyncio.sleep(one / 10)
        asking.cancel()
        began = loop.time()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await searches.nearest(Query(QUERIES[:1], 5))
        return (loop.time() - began) / one

    assert asyncio.run(ask()) < 16  # of 64


def test_an_error_reaches_all_that_wait(tmp_path: Path) -> None:
    memory = Memory.create(tmp_path / "m.sqlite", new_identity("m", 512, None))
    memory.insert([Entry(f"{at}", "a") for at in range(ROWS)], VECTORS)
    memory.close()

    async def ask() -> list[object]:
        searches = Searches(memory)
        asked = [searches.nearest(Query(QUERIES[:n], 5)) for n in (1, 1, LARGE, LARGE)]
        first = await asyncio.gather(*asked, return_exceptions=True)
        return [
            *first,
            *await asyncio.gather(searches.nearest(Query(QUERIES, 5)), return_exceptions=True),
        ]

    assert [type(each) for each in asyncio.run(ask())] == 5 * [MemoryClosed]


@pytest.mark.parametrize("counts_k", [None, 5])
def test_all_parts_of_a_query_are_of_one_state_of_the_memory(
    counts_k: int | None, few: Memory
) -> None:
    """A writer deletes most entries and inserts them again, so that even k of the answer varies."""
    query = Query(QUERIES[:ONE_STATE], 200, counts_k=counts_k)
    entries = [Entry(f"{at:05}", "again") for at in range(150)]
    let_go = threading.Event()

    def write() -> None:
        while not let_go.is_set():
            few.delete([each.id for each in entries])
            few.insert(entries, VECTORS[:150])

    few.insert(entries, VECTORS[:150], replace_existing=True)
    states = {few.digest(): few.nearest([query])[0]}
    few.delete([each.id for each in entries])
    states[few.digest()] = few.nearest([query])[0]
    few.insert(entries, VECTORS[:150])

    async def ask() -> list[Neighbors]:
        searches = Searches(few)
        writing = asyncio.create_task(asyncio.to_thread(write))
        try:
            return [await searches.nearest(query) for _ in range(5)]
        finally:
            let_go.set()
            await writing

    for found in asyncio.run(ask()):
        whole = states[found.shown.digest]
        assert bits(found) == bits(whole)
        assert found.labels.tolist() == whole.labels.tolist()
        assert counts_k is None or found.v.tolist() == whole.v.tolist()  # type: ignore[union-attr]


def test_a_larger_query_keeps_others_from_no_search_beside_a_writer(
    few: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, begun = Query(np.repeat(QUERIES, 2, axis=0), 5), list[int]()

    async def ask() -> Neighbors:
        searches, loop = Searches(few), asyncio.get_running_loop()
        run = loop.run_in_executor

        def write_between(executor: None, nearest: object, queries: list[Query]) -> object:
            begun.append(sum(len(each.vectors) for each in queries))
            few.insert([Entry(f"at {len(begun)}", "new")], VECTORS[:1])
            return run(executor, nearest, queries)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "run_in_executor", write_between)
        return await searches.nearest(query)

    found = asyncio.run(ask())

    assert begun == [TOGETHER] * (len(query.vectors) // TOGETHER)
    assert found.ids.shape == (len(query.vectors), 5)
    assert found.shown == NOT_OF_A_MEMORY


def await_loops(memory: Memory) -> None:
    """Wait until all loops are compiled."""
    memory._engine._indexes.prepared.result()


def test_a_search_waits_in_no_event_loop_for_loops_to_be_compiled(tmp_path: Path) -> None:
    compiled = threading.Event()
    indexes = ScannedIndexes(1)
    indexes._threads.prepared = indexes.prepared = indexes._threads.queries.submit(compiled.wait)
    with closing(Catalog(tmp_path, indexes)) as catalog:
        memory = catalog.create("m", dimension=QUERIES.shape[1], embedder=None)
        assert memory is not None
        with closing(memory):
            memory.insert([Entry("a", "cat")], QUERIES[:1])

            assert memory.nearest_at_once(Query(QUERIES[:1], 1)) is None
            compiled.set()
            await_loops(memory)
            assert memory.nearest_at_once(Query(QUERIES[:1], 1)) is not None


def test_a_search_is_done_at_once_only_if_it_is_quick_and_nothing_is_waited_for(
    few: Memory, crowd: Memory
) -> None:
    query = Query(QUERIES[:1], 5)
    (expected,) = few.nearest([query])
    await_loops(few)
    let_go, holding = threading.Event(), threading.Event()

    def hold() -> None:
        with few._engine.lock.writing():
            holding.set()
            let_go.wait()

    at_once = few.nearest_at_once(query)
    writer = threading.Thread(target=hold)
    writer.start()
    holding.wait()
    while_changed = few.nearest_at_once(query)
    let_go.set()
    writer.join()

    assert at_once is not None
    assert bits(at_once) == bits(expected)
    assert while_changed is None
    assert few.nearest_at_once(query) is not None
    assert crowd.nearest_at_once(query) is None
    assert few.nearest_at_once(Query(QUERIES, 5)) is None


def test_a_search_of_many_rows_or_many_vectors_is_not_done_at_once_however_short_they_are(
    tmp_path: Path,
) -> None:
    short = unit_rows(np.random.default_rng(1).standard_normal((5000, 4)).astype(np.float32))

    def memory(count: int) -> Memory:
        made = Memory.create(tmp_path / f"{count}.sqlite", new_identity("m", 4, None))
        made.insert([Entry(f"{at}", "a") for at in range(count)], short[:count])
        return made

    with closing(memory(1)) as one, closing(memory(5000)) as many:
        await_loops(one)
        assert one.nearest_at_once(Query(short[:2], 5)) is not None
        assert one.nearest_at_once(Query(short, 5)) is None
        assert many.nearest_at_once(Query(short[:1], 5)) is None


def test_all_are_answered_where_a_thread_is_refused(
    crowd: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> list[object]:
        searches, loop = Searches(crowd), asyncio.get_running_loop()
        asked = [asyncio.create_task(searches.nearest(Query(QUERIES[:PART], 5))) for _ in range(11)]
        await asyncio.sleep(0)
        run, refusals = loop.run_in_executor, [RuntimeError("can't start new thread")]

        def refuse_once(*args: object) -> object:
            if refusals:
                raise refusals.pop()
            return run(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "run_in_executor", refuse_once)
        async with asyncio.timeout(60):
            return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask())

    assert {type(each) for each in answers} == {RuntimeError, Neighbors}
    assert sum(isinstance(each, RuntimeError) for each in answers) == TOGETHER // PART


def test_what_nobody_waits_for_is_kept_no_longer(crowd: Memory) -> None:
    async def ask() -> tuple[int, int]:
        searches = Searches(crowd)
        first = asyncio.create_task(searches.nearest(Query(QUERIES, 5)))
        few = Query(QUERIES[:2], 5)
        others = [asyncio.create_task(searches.nearest(few)) for _ in range(200)]
        await asyncio.sleep(0)
        waited = len(searches._waiting)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        left = len(searches._waiting)
        await first
        return waited, left

    waited, left = asyncio.run(ask())

    assert waited >= 200
    assert left <= 1


def test_what_was_answered_is_kept_no_longer_than_a_pause(crowd: Memory) -> None:
    """An unlearning searches RAM for what is kept."""

    async def ask() -> list[bool]:
        searches, kept = Searches(crowd), list[bool]()
        for _ in range(4):
            vectors = QUERIES[:1].copy()
            vanished = weakref.ref(vectors)
            await searches.nearest(Query(vectors, 5))
            del vectors
            await asyncio.sleep(1)
            kept.append(vanished() is not None)
        return kept

    assert asyncio.run(ask()) == [False] * 4


def test_what_failed_is_searched_no_further(crowd: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[int]()

    async def ask() -> tuple[list[object], int]:
        searches, loop = Searches(crowd), asyncio.get_running_loop()
        run = loop.run_in_executor

        def refuse_first(executor: None, nearest: object, queries: list[Query]) -> object:
            begun.append(sum(len(each.vectors) for each in queries))
            if len(begun) == 1:
                raise RuntimeError("can't start new thread")
            return run(executor, nearest, queries)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "run_in_executor", refuse_first)
        asked = searches.nearest(Query(QUERIES, 5))
        first = await asyncio.gather(asked, return_exceptions=True)
        left = len(searches._waiting)
        return [*first, await searches.nearest(Query(QUERIES[:2], 5))], left

    (error, found), left = asyncio.run(ask())

    assert isinstance(error, RuntimeError)
    assert isinstance(found, Neighbors)
    assert begun == [TOGETHER, 2]
    assert left == 0


def pause_for_ever(monkeypatch: pytest.MonkeyPatch, searches: Searches) -> None:
    """Have no pause before a search end but by the callers who come or give up."""
    loop = asyncio.get_running_loop()
    call = loop.call_at

    def call_late(when: float, callback: object, *args: object, **more: object) -> object:
        when = when + 600 if callback == searches._wait else when
        return call(when, callback, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", call_late)


async def begin(searches: Searches, *queries: Query) -> list[asyncio.Task[Neighbors]]:
    """Have callers ask, the first of whom is searched for while the others wait."""
    asked = [asyncio.create_task(searches.nearest(query)) for query in queries]
    await asyncio.sleep(0)
    return asked


@pytest.mark.parametrize("vectors", [1, LARGE])
def test_a_caller_who_gave_up_during_a_search_is_not_waited_for(
    vectors: int, crowd: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> Neighbors:
        searches = Searches(crowd)
        pause_for_ever(monkeypatch, searches)
        gone, stays = await begin(searches, Query(QUERIES[:vectors], 5), Query(QUERIES[:1], 5))
        gone.cancel()
        async with asyncio.timeout(20):
            return await stays

    (expected,) = crowd.nearest([Query(QUERIES[:1], 5)])

    assert bits(asyncio.run(ask())) == bits(expected)


@pytest.mark.parametrize("queued", [True, False])
def test_a_caller_who_gave_up_before_a_search_is_not_waited_for(
    queued: bool, crowd: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One gives up while queued, or is answered but goes before taking the answer."""

    async def ask() -> Neighbors:
        searches = Searches(crowd)
        pause_for_ever(monkeypatch, searches)
        query = Query(QUERIES[:1], 5)
        first, second = await begin(searches, query, query)
        if queued:
            await first
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            last = searches.nearest(query)
        else:
            while searches._pause is None:
                await asyncio.sleep(0)
            first.cancel()
            last = second  # type: ignore[assignment]
        async with asyncio.timeout(20):
            return await last

    (expected,) = crowd.nearest([Query(QUERIES[:1], 5)])

    assert bits(asyncio.run(ask())) == bits(expected)


def test_no_vectors_have_no_neighbours(crowd: Memory) -> None:
    found = asyncio.run(Searches(crowd).nearest(Query(QUERIES[:0], 5)))

    assert len(found.ids) == 0
