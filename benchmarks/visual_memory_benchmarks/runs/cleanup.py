"""Cleanup on a server that does not hide the error before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from visual_memory import Error, Unavailable


@contextmanager
def cleanup(act: Callable[[], object]) -> Iterator[None]:
    """Call ``act`` when the block ends, unless the block raises that the server is unreachable.

    If the block raises, an error of the server in ``act`` is suppressed.
    """
    try:
        yield
    except Unavailable:
        raise
    except BaseException:
        with suppress(Error):
            act()
        raise
    act()
