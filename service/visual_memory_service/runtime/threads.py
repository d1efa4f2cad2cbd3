"""Work of a call in a thread, which ends before the call does, however that ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Like ``asyncio.to_thread``, but a call that is cancelled stays until the thread is done.

    So its place and the bytes of its message are free when nothing holds them any more. Of work
    that has not begun by then nothing is done.
    """
    return await stoppable(threading.Event(), function, *args, **kwargs)


async def stoppable(
    over: threading.Event, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """The same for work that looks whether it is ``over``, which is set once it is cancelled."""
    working = asyncio.ensure_future(asyncio.to_thread(unless, over, function, args, kwargs))
    return cast("T", await until_done(working, over.set))


def unless(
    over: threading.Event, function: Callable[..., T], args: Any, kwargs: Mapping[str, Any]
) -> T | None:
    """Do it, if it is not over; no closure, which an error would keep with all that is in it."""
    return None if over.is_set() else function(*args, **kwargs)


async def until_done(work: asyncio.Future[T], give_up: Callable[[], object]) -> T:
    """What it comes to; whoever is cancelled meanwhile gives it up, and stays until it is done."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        give_up()
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # or it would be logged as one that nobody looked at
        raise
