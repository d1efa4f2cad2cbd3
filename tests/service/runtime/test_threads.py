"""A cancelled call, with all it holds, remains until its thread is done."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from visual_memory_service.runtime.threads import in_stoppable_thread, in_thread, running_threads


def test_it_answers_and_raises_what_the_function_does() -> None:
    async def asked() -> int:
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 1, 0)
        return await in_thread(int, "11", base=2)

    assert asyncio.run(asked()) == 3


def test_who_is_cancelled_stays_until_the_thread_is_done_however_often_that_happens() -> None:
    begun, free, done = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        free.wait(30)
        done.append("worked")

    async def cancelled() -> None:
        call = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            call.cancel()
            await asyncio.sleep(0.01)
        assert not call.done()
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert done == ["worked"]

    asyncio.run(cancelled())


def test_of_work_that_has_not_begun_nothing_is_done() -> None:
    free, done = threading.Event(), list[str]()

    async def cancelled() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        first = asyncio.create_task(in_thread(free.wait, 30))
        second = asyncio.create_task(in_thread(done.append, "worked"))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        free.set()
        assert await first
        with pytest.raises(asyncio.CancelledError):
            await second

    asyncio.run(cancelled())
    assert done == []


def test_what_it_raises_after_it_was_cancelled_is_told_to_nobody() -> None:
    begun, free, on_progress = threading.Event(), threading.Event(), list[object]()

    def work() -> None:
        begun.set()
        free.wait(30)
        raise ValueError("somebody's words")

    async def cancelled() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: on_progress.append(context)
        )
        call = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(begun.wait)
        call.cancel()
        await asyncio.sleep(0.01)
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        del call
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(cancelled())
    assert on_progress == []


def test_work_is_told_that_it_is_over() -> None:
    over = threading.Event()

    async def cancelled() -> None:
        call = asyncio.create_task(in_stoppable_thread(over, over.wait, 30))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert over.is_set()


def test_all_threads_run_before_there_is_work() -> None:
    with running_threads(3, "early"):
        early = [each for each in threading.enumerate() if each.name.startswith("early_")]

    assert len(early) == 3


def test_where_the_system_refuses_a_thread_those_that_were_started_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, refused = threading.Thread.start, list[threading.Thread]()

    def start_first(thread: threading.Thread) -> None:
        if thread.name != "few_0":
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_first)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        running_threads(3, "few")

    assert len(refused) == 1
    for each in threading.enumerate():
        if each.name == "few_0":
            each.join(30)
            assert not each.is_alive()
