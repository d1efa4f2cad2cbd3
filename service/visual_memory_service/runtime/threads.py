"""Threads for the work of calls; each call outlives its thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, ParamSpec, TypeVar, cast

from visual_memory_index import running_threads
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
                f"The system gives the server too few threads ({error}), for lack of memory or by "
                "too low a limit of processes."
            ) from error
        raise


class LentThreads:
    """Threads of one name, each lent to one caller after another, of one event loop.

    ``count`` run from the start on. If more are lent at once, others are started.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._idle: list[Executor] = [running_threads(1, name) for _ in range(count)]

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[InOneThread]:
        """Lend a thread; at the end its work has ended, and none that waited for it will begin."""
        thread = self._idle.pop() if self._idle else running_threads(1, self._name)
        work = InOneThread(thread)
        try:
            yield work
        finally:
            try:
                await work.end()
            finally:
                if len(self._idle) < self._count:
                    self._idle.append(thread)
                else:
                    thread.shutdown(wait=False)


class InOneThread:
    """Work that one thread does in order, each begun without the event loop."""

    def __init__(self, thread: Executor) -> None:
        self._thread, self._over = thread, threading.Event()

    def start(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Start a function once the earlier ones have ended; see ``run_unless`` for None."""
        work = self._thread.submit(run_unless, self._over, function, args, kwargs)
        return cast("asyncio.Future[T]", asyncio.wrap_future(work))

    async def end(self) -> None:
        """Skip what has not begun, and wait for the rest."""
        self._over.set()
        await until_done(self.start(lambda: None), self._over.set)


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
