"""Long work begins, is stopped and ends, also if the server stops or its memory is deleted."""

from __future__ import annotations

import asyncio
import errno
import gc
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from structlog.testing import capture_logs
from tests.databases import database_of

import visual_memory
from visual_memory import Client
from visual_memory_index import (
    CUT_SHORT,
    REEMBED,
    UNLEARN,
    Catalog,
    Memory,
    Operation,
    Query,
    Request,
)
from visual_memory_index.errors import CorruptStore, DiskFull, MemoryClosed, OperationEnded, in_full
from visual_memory_service.errors import TooManyOperations
from visual_memory_service.runtime import operations as runtime
from visual_memory_service.runtime.operations import AT_ONCE, Job, Operations, Work

if TYPE_CHECKING:
    from tests.conftest import Start


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(Catalog(tmp_path)) as catalog, closing(created(catalog, "m")) as made:
        yield made


def created(catalog: Catalog, name: str) -> Memory:
    made = catalog.create(name, dimension=2, embedder=None)
    assert made is not None
    return made


@pytest.fixture
def operations() -> Iterator[Operations]:
    with closing(Operations()) as operations:
        yield operations


def until(event: threading.Event) -> Work:
    """Return work that lasts until ``event`` is set or the work is stopped."""

    def work(job: Job) -> str | None:
        while not event.wait(0.01):
            job.check()
        return None

    return work


def occupy(memory: Memory, operations: Operations, event: threading.Event) -> list[str]:
    """Let every thread work until ``event`` is set; return the names of the operations."""
    begun = threading.Barrier(AT_ONCE + 1)

    def work(job: Job) -> str | None:
        begun.wait(60)
        return until(event)(job)

    names = [operations.start(memory, "x", work).name for _ in range(AT_ONCE)]
    begun.wait(60)
    return names


def test_work_that_waits_for_a_thread_can_be_stopped(
    memory: Memory, operations: Operations
) -> None:
    event = threading.Event()
    running = [operations.start(memory, "x", until(event)) for _ in range(AT_ONCE)]
    queued = operations.start(memory, "x", until(event))

    stopped = operations.cancel(memory, queued.name)

    assert stopped.state == "cancelled"
    assert operations.job(queued.name) is None
    event.set()
    operations.stop("m")
    assert {memory.operations.get(each.name).state for each in running} <= {"done", "failed"}


def test_of_each_memory_one_that_waits_begins_in_turn(
    tmp_path: Path, memory: Memory, operations: Operations
) -> None:
    begun: list[str] = []
    event = threading.Event()

    def noting(job: Job) -> None:
        begun.append(job.memory_name)

    with closing(Catalog(tmp_path / "other")) as catalog, closing(created(catalog, "n")) as other:
        running = occupy(memory, operations, event)
        many = [operations.start(memory, "x", noting) for _ in range(3)]
        one = operations.start(other, "x", noting)
        waiting = [operations.job(each.name) for each in [*many, one]]
        operations.cancel(memory, running[0])  # so that one thread does all
        wait([job.ended for job in waiting if job])
        event.set()

    assert begun == ["m", "n", "m", "m"]


def test_more_than_the_most_may_not_wait_on_one_memory(
    tmp_path: Path, memory: Memory, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "WAITING_MAX", 3)
    event = threading.Event()
    with closing(Catalog(tmp_path / "other")) as catalog, closing(created(catalog, "n")) as other:
        occupy(memory, operations, event)
        for _ in range(2):
            operations.start(memory, "x", until(event))
        request = Request("again", b"")
        last = operations.start(memory, "x", until(event), request=request)

        with pytest.raises(TooManyOperations, match='3 operations on the memory "m" wait already'):
            operations.start(memory, "x", until(event))
        assert operations.start(memory, "x", until(event), request=request) == last
        operations.start(other, "x", until(event))
        operations.cancel(memory, last.name)
        operations.start(memory, "x", until(event))
        event.set()
        operations.stop()


def test_more_than_the_most_memories_may_not_have_operations(
    tmp_path: Path, memory: Memory
) -> None:
    event, request = threading.Event(), Request("again", b"")
    with (
        closing(Catalog(tmp_path / "other")) as catalog,
        closing(created(catalog, "n")) as second,
        closing(created(catalog, "o")) as third,
        closing(Operations(2)) as operations,
    ):
        operations.start(memory, "x", until(event))
        last = operations.start(second, "x", until(event), request=request)

        with pytest.raises(TooManyOperations, match="2 operations on different memories wait"):
            operations.start(third, "x", until(event))
        assert operations.start(second, "x", until(event), request=request) == last
        operations.start(memory, "x", until(event))
        event.set()
        if job := operations.job(last.name):
            wait([job.ended])
        operations.start(third, "x", until(event))
        operations.stop()


def test_one_whose_end_is_on_the_disk_has_ended_once_readers_see_what_it_did(
    memory: Memory, operations: Operations
) -> None:
    on_disk, seen = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        memory.operations.end(job.name, "done")
        on_disk.set()
        assert seen.wait(60)

    async def read(name: str) -> tuple[bool, str, list[str]]:
        reading = asyncio.create_task(operations.read(memory, name))
        listing = asyncio.create_task(operations.page(memory, "", 9))
        cancelling = asyncio.create_task(asyncio.to_thread(operations.cancel, memory, name))
        early, _ = await asyncio.wait([reading, listing, cancelling], timeout=0.2)
        seen.set()
        with pytest.raises(OperationEnded):
            await cancelling
        return bool(early), (await reading).state, [each.state for each in await listing]

    name = operations.start(memory, "x", work).name
    assert on_disk.wait(60)

    assert asyncio.run(read(name)) == (False, "done", ["done"])
    assert asyncio.run(operations.read(memory, name)).state == "done"


def test_one_that_was_cancelled_may_be_cancelled_again(
    memory: Memory, operations: Operations
) -> None:
    event = threading.Event()
    running = [operations.start(memory, "x", until(event)) for _ in range(AT_ONCE)]
    queued = operations.start(memory, "x", until(event))

    first, again = (operations.cancel(memory, queued.name) for _ in range(2))

    event.set()
    assert first == again
    while operations.job(running[0].name):
        pass
    with pytest.raises(OperationEnded):
        operations.cancel(memory, running[0].name)


def test_two_may_cancel_what_waits_at_the_same_time(memory: Memory, operations: Operations) -> None:
    event = threading.Event()
    for _ in range(AT_ONCE):
        operations.start(memory, "x", until(event))

    with ThreadPoolExecutor(2) as both:
        for _ in range(60):
            queued = operations.start(memory, "x", until(event))
            cancelled = [both.submit(operations.cancel, memory, queued.name) for _ in range(2)]
            assert {each.result().state for each in cancelled} <= {"running", "cancelled"}
            assert memory.operations.get(queued.name).state == "cancelled"
    event.set()


def test_an_end_that_cannot_be_noted_keeps_no_other_from_ending(
    memory: Memory, operations: Operations
) -> None:
    event = threading.Event()
    running = [operations.start(memory, "x", until(event)) for _ in range(AT_ONCE)]
    queued = [operations.start(memory, "x", until(event)) for _ in range(2)]
    memory.close()

    operations.close()

    assert not any(operations.job(each.name) for each in (*running, *queued))


def test_all_have_ended_also_where_stopping_fails(memory: Memory, operations: Operations) -> None:
    event = threading.Event()
    kinds = [UNLEARN, *"x" * AT_ONCE, "x", "x"]  # the last two wait for a thread
    started = [operations.start(memory, kind, until(event)) for kind in kinds]
    database_of(memory)._writer.execute("DROP TABLE operations")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        operations.stop("m")

    assert not any(operations.job(each.name) for each in started)


def test_stopping_that_fails_waits_for_no_other_memory(
    memory: Memory, operations: Operations, tmp_path: Path
) -> None:
    event = threading.Event()
    late = threading.Timer(20, event.set)
    late.start()
    with (
        closing(Catalog(tmp_path / "other")) as catalog,
        closing(created(catalog, "other")) as other,
    ):
        for _ in range(AT_ONCE):
            operations.start(other, "x", until(event))
        started = [operations.start(memory, "x", until(event)) for _ in range(3)]
        database_of(memory)._writer.execute("DROP TABLE operations")

        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            operations.stop("m")

        assert not event.is_set()
        assert not any(operations.job(each.name) for each in started)
        late.cancel()
        operations.stop("other")


def test_none_of_those_that_are_kept_off_works_before_or_meanwhile(
    memory: Memory, operations: Operations
) -> None:
    worked: list[str] = []

    def note(job: Job) -> None:
        worked.append(job.operation.kind)

    before = operations.start(memory, "x", until(threading.Event()))
    with operations.suspend_others("m", reason="because", except_kinds=("y",)):
        meanwhile = operations.start(memory, "x", note)
        other = operations.start(memory, "y", note)
        wait([job.ended for each in (meanwhile, other) if (job := operations.job(each.name))])
    after = operations.start(memory, "x", note)
    operations.stop("m")

    ended = [memory.operations.get(each.name) for each in (before, meanwhile)]
    assert {(each.state, each.problem) for each in ended} == {("failed", "because")}
    assert memory.operations.get(other.name).state == "done"
    assert memory.operations.get(after.name).problem in (None, CUT_SHORT)
    assert worked[0] == "y"
    assert worked.count("x") == (memory.operations.get(after.name).state == "done")


def test_after_closing_nothing_begins_and_what_ran_was_cut_short(memory: Memory) -> None:
    operations = Operations()
    begun = [operations.start(memory, "x", until(threading.Event())) for _ in range(AT_ONCE + 2)]

    operations.close()

    ended = [memory.operations.get(each.name) for each in begun]
    assert {(each.state, each.problem) for each in ended} == {("failed", CUT_SHORT)}
    with pytest.raises(MemoryClosed):
        operations.start(memory, "x", lambda job: None)
    operations.close()
    assert not [each for each in memory.operations.page(limit=99) if each.state == "running"]


def test_one_whose_result_finds_no_room_on_the_disk_has_failed(
    memory: Memory, operations: Operations
) -> None:
    database_of(memory)._writer.execute("PRAGMA max_page_count = 1")

    started = operations.start(memory, "x", lambda job: "0" * 1_000_000)
    if job := operations.job(started.name):
        wait([job.ended])

    ended = memory.operations.get(started.name)
    assert (ended.state, ended.result) == ("failed", None)
    assert ended.problem is not None
    assert "make room on the disk" in ended.problem


def test_a_reembedding_whose_end_finds_no_room_does_not_come_back(
    memory: Memory, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = memory.operations.begin(REEMBED).operation
    operations.resume(memory, first, until(threading.Event()))
    memory._engine.store.keep_derived("reembedded/x/1", bytes(1000))
    with monkeypatch.context() as filling:
        filling.setattr(memory._engine.writer, "do", full)
        for _ in range(2):
            with pytest.raises(DiskFull):  # it is not cancelled on the disk
                operations.cancel(memory, first.name)
        wait([job.ended for job in [operations.job(first.name)] if job])

    assert memory.operations.get(first.name).state == "cancelled"
    assert memory._engine.store.derived_sizes("reembedded/")
    second = memory.operations.begin(REEMBED).operation
    assert [each.name for each in memory.operations.unfinished(REEMBED)] == [second.name]
    assert operations.cancel(memory, first.name).state == "cancelled"
    assert not memory._engine.store.derived_sizes("reembedded/")


def test_new_vectors_that_could_not_be_deleted_are_deleted_once_there_is_room(
    memory: Memory, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = memory.operations.begin(REEMBED).operation
    memory._engine.store.keep_derived("reembedded/x/1", bytes(1000))
    with monkeypatch.context() as filling:
        filling.setattr(memory._engine.store, "drop_derived", full)
        memory.operations.end(operation.name, "failed", problem="because")
    assert memory._engine.store.derived_sizes("reembedded/")

    memory.operations.write_ends()

    assert not memory._engine.store.derived_sizes("reembedded/")


def test_one_that_replaces_its_memory_can_be_cancelled(
    memory: Memory, operations: Operations
) -> None:
    holds = threading.Event()

    def work(job: Job) -> None:
        with memory.holding_writes(refuse=True):
            holds.set()
            while True:
                job.check()
                time.sleep(0.01)

    operation = memory.operations.begin(REEMBED).operation
    operations.resume(memory, operation, work)
    assert holds.wait(60)

    assert operations.cancel(memory, operation.name).state == "cancelled"
    assert not memory.operations.unfinished()


def test_reembeddings_hold_up_nothing_else(memory: Memory, operations: Operations) -> None:
    event = threading.Event()
    for _ in range(AT_ONCE + 1):
        operations.resume(memory, memory.operations.begin(REEMBED).operation, until(event))

    other = operations.start(memory, "x", lambda job: None)
    wait([job.ended for job in [operations.job(other.name)] if job], timeout=60)

    assert memory.operations.get(other.name).state == "done"
    event.set()


def full(*args: Any, **more: Any) -> Any:
    raise DiskFull(Path("m"), "the disk is full")


@pytest.mark.parametrize("first", ["cancelled", "stopped"])
def test_a_cancelled_reembedding_does_not_go_on_though_it_was_stopped_too(
    memory: Memory, operations: Operations, first: str
) -> None:
    begun, free = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        begun.set()
        free.wait(60)
        job.check()

    operation = memory.operations.begin(REEMBED).operation
    operations.resume(memory, operation, work)
    begun.wait(60)
    if first == "cancelled":
        assert operations.cancel(memory, operation.name).state == "cancelled"
        assert not memory.operations.unfinished()
    with ThreadPoolExecutor(1) as thread:
        stopping = thread.submit(operations.stop, "m", reason="because")
        while (job := operations.job(operation.name)) and not job.cancelled.is_set():
            time.sleep(0.001)
        if first == "stopped":
            operations.cancel(memory, operation.name)
        free.set()
        stopping.result(timeout=60)

    assert memory.operations.get(operation.name).state == "cancelled"


def test_a_reembedding_that_begins_while_others_are_suspended_goes_on_afterwards(
    memory: Memory, operations: Operations
) -> None:
    worked = threading.Event()
    operation = memory.operations.begin(REEMBED).operation

    with operations.suspend_others("m", reason="because", except_kinds=(UNLEARN,)):
        operations.resume(memory, operation, lambda job: worked.set())
        assert operations.job(operation.name) is None
    operations.resume(memory, operation, lambda job: worked.set())

    assert worked.wait(60)


def test_a_reembedding_that_is_cancelled_as_it_waits_leaves_no_vectors(
    memory: Memory, operations: Operations
) -> None:
    event = threading.Event()
    working, waiting, jobless = (memory.operations.begin(REEMBED).operation for _ in range(3))
    for operation in (working, waiting):
        operations.resume(memory, operation, until(event))
    for operation in (waiting, jobless):
        memory._engine.store.keep_derived("reembedded/x/1", bytes(1000))

        assert operations.cancel(memory, operation.name).state == "cancelled"

        assert not memory._engine.store.derived_sizes("reembedded/")
    event.set()


def test_progress_is_kept_of_the_operations_that_ended_last(
    memory: Memory, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "ENDED_MAX", 2)
    names = []
    for _ in range(4):
        begun = operations.start(memory, "x", lambda job: job.report_progress(1, 9))
        while operations.job(begun.name):
            pass
        names.append(begun.name)

    assert [operations.progress(name) for name in names] == [(0, 0), (0, 0), (1, 9), (1, 9)]
    assert operations.progress("m/unknown") == (0, 0)


def test_what_work_waits_for_is_logged_as_it_begins_and_as_it_ends(
    memory: Memory, operations: Operations
) -> None:
    a, b = (DiskFull(Path(name), "disk full") for name in ("a", "b"))
    problems = iter([a, a, b, None])

    def act() -> None:
        if problem := next(problems):
            raise problem

    with capture_logs() as logged:
        begun = operations.start(memory, "x", lambda job: job.retry_while(act))
        while operations.job(begun.name):
            pass

    assert [(each["event"], each.get("reason")) for each in logged] == [
        ("operation waits", in_full(a)),
        ("operation waits", in_full(b)),
        ("operation goes on", None),
    ]
    assert memory.operations.get(begun.name).state == "done"


LACKS = (
    MemoryError(),
    RuntimeError("can't start new thread"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    OSError(errno.EMFILE, "Too many open files", "a"),
    DiskFull(Path("a"), "disk full"),
)


@pytest.mark.parametrize("lack", LACKS, ids=repr)
def test_an_erasure_waits_until_a_lack_has_passed(
    memory: Memory, operations: Operations, monkeypatch: pytest.MonkeyPatch, lack: Exception
) -> None:
    lacks, get, end = iter([lack] * 6), memory.operations.get, memory.operations.end
    left = {"get": 2, "work": 2, "end": 2}

    def lacking(where: str) -> None:
        if left[where]:
            left[where] -= 1
            raise next(lacks)

    def getting(name: str) -> Operation:
        lacking("get")
        return get(name)

    def ending(*args: Any, **more: Any) -> Operation:
        lacking("end")
        return end(*args, **more)

    def work(job: Job) -> str:
        job.retry_while(lambda: lacking("work"))
        return '"a certificate"'

    begun = memory.operations.begin(UNLEARN).operation
    monkeypatch.setattr(memory.operations, "get", getting)
    monkeypatch.setattr(memory.operations, "end", ending)
    operations.resume(memory, begun, work)
    wait([job.ended for job in [operations.job(begun.name)] if job])

    assert next(lacks, None) is None
    assert (get(begun.name).state, get(begun.name).result) == ("done", '"a certificate"')


def test_an_erasure_that_gets_no_memory_again_and_again_is_put_off(
    memory: Memory, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "PAUSES", (0.01,))
    monkeypatch.setattr(runtime, "SHORT_SECONDS_MAX", 0.045)
    tried = list[int]()

    def lacking() -> None:
        tried.append(1)
        raise MemoryError

    begun = memory.operations.begin(UNLEARN).operation
    operations.resume(memory, begun, lambda job: job.retry_while(lambda: job.retry_while(lacking)))
    wait([job.ended for job in [operations.job(begun.name)] if job])

    ended = memory.operations.get(begun.name)
    assert len(tried) == 5
    assert ended.state == "failed"
    assert "not enough memory" in str(ended.problem)
    assert "goes on when the server is started again" in str(ended.problem)


def test_without_memory_for_a_lock_it_pauses_all_the_same_and_is_cancelled(
    memory: Memory, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = list[float]()

    def paused(job: Job) -> None:
        def refused(_: float) -> None:
            if len(pauses) == 2:
                job.cancelled.set()
            raise MemoryError

        monkeypatch.setattr(job.cancelled, "wait", refused)
        while True:
            began = time.monotonic()
            job.pause(0.01)
            pauses.append(time.monotonic() - began)

    name = operations.start(memory, "x", paused).name
    wait([job.ended for job in [operations.job(name)] if job])

    assert memory.operations.get(name).state == "cancelled"
    assert len(pauses) == 2
    assert min(pauses) >= 0.01


def test_a_try_that_failed_holds_no_memory_until_the_next(
    memory: Memory, operations: Operations
) -> None:
    class Large:
        pass

    held = list[weakref.ref[Large]]()

    def lacking() -> None:
        assert all(each() is None for each in held)
        large = Large()
        held.append(weakref.ref(large))
        if len(held) < 3:
            raise MemoryError

    gc.disable()
    try:
        begun = operations.start(memory, "x", lambda job: job.retry_while(lacking))
        wait([job.ended for job in [operations.job(begun.name)] if job])
    finally:
        gc.enable()

    assert memory.operations.get(begun.name).state == "done"
    assert len(held) == 3


def test_why_an_erasure_goes_on_at_the_next_start_only_is_logged(
    memory: Memory, operations: Operations
) -> None:
    def refused(job: Job) -> None:
        raise CorruptStore(Path("a"), "it lacks a row")

    begun = memory.operations.begin(UNLEARN).operation
    with capture_logs() as logged:
        operations.resume(memory, begun, refused)
        wait([job.ended for job in [operations.job(begun.name)] if job])

    (only,) = logged
    assert (only["event"], only["operation"]) == ("operation put off", begun.name)
    assert "it lacks a row" in only["reason"]
    assert only["reason"] in str(memory.operations.get(begun.name).problem)


def test_a_repeated_request_does_the_work_once(memory: Memory, operations: Operations) -> None:
    done = []

    def start(_: int) -> str:
        request = Request("once", b"x")
        return operations.start(memory, "x", lambda job: done.append(1), request=request).name

    with ThreadPoolExecutor(8) as threads:
        (name,) = set(threads.map(start, range(8)))
    if job := operations.job(name):
        wait([job.ended])

    assert len(done) == 1


def test_what_has_ended_is_not_done_again(memory: Memory, operations: Operations) -> None:
    begun = memory.operations.begin(UNLEARN).operation
    memory.operations.end(begun.name, "done", result='"a certificate"')

    operations.resume(memory, begun, lambda job: 1 / 0)  # type: ignore[arg-type,return-value]  # it raises
    wait([job.ended for job in [operations.job(begun.name)] if job])

    assert (memory.operations.get(begun.name).state, memory.operations.get(begun.name).result) == (
        "done",
        '"a certificate"',
    )


def test_many_counts_in_one_batch_of_questions_are_all_answered(memory: Memory) -> None:
    from visual_memory_index import Entry, unit_rows

    rows = unit_rows(np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32))
    memory.insert([Entry(f"{number:02}", str(number % 3)) for number in range(30)], rows)

    found = memory.nearest([Query(rows[:1], 3, counts_k=k) for k in (1, 2, 3, 4, 5, 6, None)])

    for k, each in zip((1, 2, 3, 4, 5, 6), found, strict=False):
        counts = memory.misleading_counts(k)
        v = dict(zip(counts.ids, counts.v.tolist(), strict=True))
        assert each.v is not None
        assert each.v[0].tolist() == [v[id] for id in each.ids[0]]
    assert found[-1].v is None


def test_a_server_that_is_told_to_stop_stops_though_work_is_asked_for(
    start: Start, tmp_path: Path
) -> None:
    server = start(tmp_path)
    over = threading.Event()
    with visual_memory.connect(server.address, timeout=5) as client:
        crowd = client.create_memory("crowd", dimension=8)
        rows = np.random.default_rng(0).normal(size=(500, 8))
        crowd.insert(vectors=rows, labels=["a", "b"] * 250)
        threads = [threading.Thread(target=keep_asking, args=(client, over)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            over.wait(0.5)
            assert server.end() == 0
        finally:
            over.set()
            for thread in threads:
                thread.join(30)


def keep_asking(client: Client, over: threading.Event) -> None:
    while not over.is_set():
        try:
            client.memory("crowd").assess(k=5)
        except visual_memory.Error:
            over.wait(0.01)
