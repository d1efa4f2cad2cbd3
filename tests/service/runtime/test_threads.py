"""A cancelled call, with all it holds, remains until its thread is done."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from visual_memory_service.runtime.threads import LentThreads, in_stoppable_thread, in_thread


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


def test_work_lent_a_thread_is_done_in_order_and_what_has_not_begun_at_the_end_never() -> None:
    threads, free, done = LentThreads(1, "lent"), threading.Event(), list[int]()

    def work(number: int) -> int:
        if number:
            free.wait(30)
        done.append(number)
        return number

    async def lent() -> None:
        async with threads.lent() as thread:
            works = [thread.start(work, number) for number in range(4)]
            assert await works[0] == 0
            leaving = asyncio.get_running_loop().call_later(0.05, free.set)
        assert leaving.when() < asyncio.get_running_loop().time()  # it waited for what had begun
        assert [await each for each in works] == [0, 1, None, None]

    asyncio.run(lent())
    assert done == [0, 1]


def test_more_may_be_lent_than_run_from_the_start_on() -> None:
    threads = LentThreads(1, "lent")

    def running() -> int:
        return sum(each.name.startswith("lent_") for each in threading.enumerate())

    async def lent() -> None:
        async with threads.lent() as one, threads.lent() as other:
            assert running() == 2
            assert [await one.start(int, "1"), await other.start(int, "2")] == [1, 2]
        async with threads.lent() as one:
            assert await one.start(int, "3") == 3

    assert running() == 1
    asyncio.run(lent())


def test_who_leaves_a_lent_thread_cancelled_still_waits_for_it() -> None:
    threads, begun, free = LentThreads(1, "lent"), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        free.wait(30)

    async def lent() -> None:
        async with threads.lent() as thread:
            await thread.start(work)

    async def cancelled() -> None:
        call = asyncio.create_task(lent())
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            call.cancel()
            await asyncio.sleep(0.01)
        assert not call.done()
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with threads.lent() as thread:
            assert await thread.start(int, "1") == 1

    asyncio.run(cancelled())
