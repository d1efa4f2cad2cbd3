"""Calls that wait for their clients: a server that ends its connections does not wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from visual_memory_service.errors import ConnectionsRenewed

IDLE_SECONDS = 1.0
STREAM_SECONDS = 5.0  # for those in which something moves all the time, such as a backup's
CHECK_SECONDS = 0.1


class Waiting:
    """The calls of one server, and which of them wait for a client since when."""

    def __init__(self) -> None:
        self._calls = 0
        self._reading: dict[object, tuple[float, Callable[[], None]]] = {}
        self._writing: dict[object, float] = {}
        self._over = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call is inside."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    @contextmanager
    def to_read(self, end: Callable[[], None]) -> Iterator[None]:
        """A call is inside that waits for a message, until it comes or ``end`` is called."""
        wait = object()
        self._reading[wait] = time.monotonic(), end
        try:
            yield
        finally:
            del self._reading[wait]

    @contextmanager
    def to_write(self) -> Iterator[None]:
        """A call is inside that waits until its client takes an answer.

        Raises ConnectionsRenewed where the time of streams is over.
        """
        if self._over:
            raise ConnectionsRenewed
        wait = object()
        self._writing[wait] = time.monotonic()
        try:
            yield
        finally:
            del self._writing[wait]

    async def end(self) -> None:
        """End those that are idle, and come back once all that are left are.

        Those that wait for a message are told; nothing can be told to a client that takes none.
        """
        began = time.monotonic()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = time.monotonic()
            self._over = now - began >= STREAM_SECONDS
            latest = now if self._over else now - IDLE_SECONDS
            for since, end in list(self._reading.values()):
                if since <= latest:
                    end()
            idle = sum(since <= latest for since in self._writing.values())
            patience = IDLE_SECONDS if idle else STREAM_SECONDS  # for messages that just arrive
            if idle == self._calls and now - began >= patience:
                return
