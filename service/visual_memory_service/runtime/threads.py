"""Threads for the work of calls; each call outlives its thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from visual_memory_service.config import BadSetting
from visual_memory_service.errors import NO_THREAD

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def enough_threads() -> Iterator[None]:
    """Raise BadSetting if the system refuses a thread inside the block."""
    try:
        yield
    except RuntimeError as error:
        if str(error) in NO_THREAD:
            raise BadSetting(
                f"The system gives the server too few threads ({error}); let it have more memory "
                "(ulimit -v) or processes (ulimit -u)."
            ) from error
        raise


@asynccontextmanager
async def in_order(threads: Executor) -> AsyncIterator[OrderedWork]:
    """Yield work for ``threads``; at the end it has ended, and none that waited will begin."""
    work = OrderedWork(threads)
    try:
        yield work
    finally:
        await work.end()


class OrderedWork:
    """Work that ``threads`` do in order, each begun without the event loop.

    After each, others that share the threads have their turn.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads, self._over = threads, threading.Event()
        self._lock = threading.Lock()
        self._waiting = deque[tuple[Future[Any], Callable[[], Any]]]()
        self._going_on = False
        self._turn = 0

    def start(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Start a function, in a copy of the context, once the earlier ones have ended.

        See ``run_unless`` for None.
        """
        done = Future[T]()
        awaited = asyncio.wrap_future(done)
        call = partial(copy_context().run, run_unless, self._over, function, args, kwargs)
        with self._lock:
            self._waiting.append((done, call))
            if not self._going_on:
                try:
                    self._submit()
                except BaseException:
                    self._waiting.clear()
                    raise
                self._going_on = True
        return awaited

    @property
    def under_way(self) -> bool:
        """Return True if work has begun, or waits for its turn."""
        return self._going_on

    def _submit(self) -> None:
        """Have a thread go on. Where this fails, it may do so all the same: its turn is over."""
        self._turn += 1
        try:
            self._threads.submit(self._go_on, self._turn)
        except BaseException:
            self._turn += 1
            raise

    def _go_on(self, turn: int) -> None:
        """Do what waits first, and have a thread go on, which is this one if none can be told."""
        while True:
            with self._lock:
                if turn != self._turn:
                    return
                if not self._waiting:
                    self._going_on = False
                    return
                done, call = self._waiting.popleft()
            try:
                settle(done, call)
            finally:
                del done, call
                with self._lock:
                    try:
                        self._submit()
                    except (MemoryError, RuntimeError):
                        turn = self._turn

    async def end(self) -> None:
        """Skip what has not begun, and wait for the rest."""
        self._over.set()
        await until_done(self.start(lambda: None), self._over.set)


def settle(done: Future[Any], call: Callable[[], Any]) -> None:
    """Call, unless ``done`` was cancelled, and give it the result or the error."""
    if done.set_running_or_notify_cancel():
        try:
            result = call()
        except BaseException as error:
            done.set_exception(error)
            del done  # or the error's traceback would keep itself
        else:
            done.set_result(result)


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in a thread like ``asyncio.to_thread``, but await its end if cancelled.

    So a cancelled call frees its place and the bytes of its message only when no thread uses them.
    Work that has not begun at the cancellation is skipped.
    """
    return await in_stoppable_thread(threading.Event(), function, *args, **kwargs)


async def in_stoppable_thread(
    over: threading.Event, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run like ``in_thread``; ``over``, which work can check, is set if the call is cancelled."""
    working = asyncio.ensure_future(asyncio.to_thread(run_unless, over, function, args, kwargs))
    return cast("T", await until_done(working, over.set))


def run_unless(
    over: threading.Event, function: Callable[..., T], args: Any, kwargs: Mapping[str, Any]
) -> T | None:
    """Return the function's result, or None without a call if ``over`` is set.

    To raise an error instead would keep a closure, with its data, in RAM.
    """
    return None if over.is_set() else function(*args, **kwargs)


async def until_done(work: asyncio.Future[T], give_up: Callable[[], object]) -> T:
    """Wait for ``work``; if cancelled, call ``give_up``, but still wait until ``work`` is done."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        give_up()
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # or asyncio would log it as never retrieved
        raise
