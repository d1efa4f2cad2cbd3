"""Threads for the work of calls; each call outlives its thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar, cast

from visual_memory_service.config import BadSetting
from visual_memory_service.errors import NO_THREAD

P = ParamSpec("P")
T = TypeVar("T")


def running_threads(
    count: int, name: str, initializer: Callable[[], object] | None = None
) -> ThreadPoolExecutor:
    """Return an executor of ``count`` threads, all of which run.

    Where the system later refused to start one, ThreadPoolExecutor would raise an error, and still
    do the work in another thread. Raises RuntimeError if the system refuses one now.
    """
    executor = ThreadPoolExecutor(count, name, initializer)
    all_run = threading.Event()
    try:
        for _ in range(count):
            executor.submit(all_run.wait)
    finally:
        all_run.set()
    return executor


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
