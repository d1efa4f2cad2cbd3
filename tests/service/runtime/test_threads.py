"""A cancelled call, with all it holds, remains until its thread is done."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest

from visual_memory_index import running_threads
from visual_memory_service.runtime.threads import in_order, in_stoppable_thread, in_thread, settle


def test_it_answers_and_raises_what_the_function_does() -> None:
    async def asked() -> int:
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 1, 0)
        return await in_thread(int, "11", base=2)

    assert asyncio.run(asked()) == 3


T = TypeVar("T")


async def in_ordered_thread(function: Callable[[], object]) -> None:
    async with in_order(running_threads(1, "shared")) as works:
        await works.start(function)


@pytest.mark.parametrize("in_a_thread", [in_thread, in_ordered_thread])
def test_who_is_cancelled_stays_until_the_thread_is_done_however_often_that_happens(
    in_a_thread: Callable[[Callable[[], object]], Awaitable[object]],
) -> None:
    begun, free, done = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        free.wait(30)
        done.append("worked")

    async def cancelled() -> None:
        call = asyncio.ensure_future(in_a_thread(work))
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


def test_work_is_done_in_order_and_what_has_not_begun_at_the_end_never() -> None:
    threads, done = running_threads(3, "shared"), list[int]()
    begun, free = threading.Event(), threading.Event()

    def work(number: int) -> int:
        if number:
            begun.set()
            free.wait(30)
        done.append(number)
        return number

    async def ordered() -> None:
        async with in_order(threads) as works:
            started = [works.start(work, number) for number in range(4)]
            assert await started[0] == 0
            await asyncio.to_thread(begun.wait)
            leaving = asyncio.get_running_loop().call_later(0.05, free.set)
        assert leaving.when() < asyncio.get_running_loop().time()  # it waited for what had begun
        assert [await each for each in started] == [0, 1, None, None]

    asyncio.run(ordered())
    assert done == [0, 1]


def test_those_that_share_threads_take_turns() -> None:
    threads, free, done = running_threads(1, "shared"), threading.Event(), list[str]()

    def work(name: str) -> None:
        free.wait(30)
        done.append(name)

    async def ordered() -> None:
        async with in_order(threads) as one, in_order(threads) as other:
            works = [
                each.start(work, name)
                for each, name in ((one, "one"), (other, "other"))
                for _ in range(3)
            ]
            free.set()
            await asyncio.gather(*works)

    asyncio.run(ordered())
    assert done == ["one", "other"] * 3


class ShortThreads(ThreadPoolExecutor):
    """Threads to which work can be given ``left`` times; then memory lacks, before it or after."""

    def __init__(self, left: int, *, taken: bool) -> None:
        super().__init__(3)
        self.left, self.taken = left, taken

    def submit(self, function: Callable[..., T], /, *given: Any, **named: Any) -> Future[T]:
        self.left -= 1
        if self.left < 0:
            if self.taken:
                super().submit(function, *given, **named)
                time.sleep(0.002)
            raise MemoryError
        return super().submit(function, *given, **named)


@pytest.mark.parametrize("taken", [False, True])
def test_where_memory_lacks_to_give_work_away_the_thread_goes_on_in_order(taken: bool) -> None:
    threads, free, done = ShortThreads(1, taken=taken), threading.Event(), list[int]()
    alone = threading.Lock()

    def work(number: int) -> None:
        free.wait(30)
        assert alone.acquire(blocking=False)
        time.sleep(0.002)
        done.append(number)
        alone.release()

    async def ordered() -> None:
        async with in_order(threads) as works:
            started = [works.start(work, number) for number in range(10)]
            free.set()
            await asyncio.gather(*started)
            threads.left = 2

    asyncio.run(ordered())
    assert done == list(range(10))


@pytest.mark.parametrize("taken", [False, True])
def test_work_that_is_refused_is_never_done_and_later_work_is(taken: bool) -> None:
    threads, done = ShortThreads(0, taken=taken), list[int]()

    async def ordered() -> None:
        async with in_order(threads) as works:
            with pytest.raises(MemoryError):
                works.start(done.append, 1)
            threads.left = 10
            await works.start(done.append, 2)

    asyncio.run(ordered())
    assert done == [2]


def test_an_error_is_given_to_who_waits_and_the_next_work_is_done() -> None:
    async def ordered() -> None:
        async with in_order(running_threads(1, "shared")) as works:
            bad, good = works.start(int, "bad"), works.start(int, "1")
            with pytest.raises(ValueError, match="bad"):
                await bad
            assert await good == 1

    asyncio.run(ordered())


def test_an_error_of_work_keeps_nothing_in_a_cycle() -> None:
    done = Future[object]()
    gc.disable()
    try:
        settle(done, partial(int, "bad"))
        kept = weakref.ref(done)
        del done
        assert kept() is None
    finally:
        gc.enable()
