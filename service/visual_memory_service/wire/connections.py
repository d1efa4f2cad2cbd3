"""Connections of a server: how many there are, and that their end waits for no client."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from visual_memory_service.config import Bounds
from visual_memory_service.errors import ConnectionsRenewed

IDLE_SECONDS = 1.0
STREAM_SECONDS = 5.0  # for streams that never pause, such as a backup
CHECK_SECONDS = 0.1
KINDS_WITH_HTTP = 3  # of connections: by gRPC, by HTTP, and both ends of those between the two


def most_connections(bounds: Bounds, *, with_http: bool) -> int:
    """Return how many connections by gRPC there may be, and as many by HTTP.

    All together have half of the descriptors of the process at most; the others are for files.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    kinds = KINDS_WITH_HTTP if with_http else 1
    return max(1, min(bounds.connections_max, descriptors // 2 // kinds))


class Connections:
    """Counts the calls of one gRPC server, and records since when each waits for its client.

    The event ``closing`` is set when the server's connections are about to close.
    """

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self._calls = 0
        self._reading: dict[object, tuple[float, Callable[[], None]]] = {}
        self._writing: dict[object, float] = {}
        self._over = False

    def begin_call(self) -> None:
        """Count a call as under way."""
        self._calls += 1

    def end_call(self) -> None:
        """Count it no longer."""
        self._calls -= 1

    @contextmanager
    def to_read(self, end: Callable[[], None]) -> Iterator[None]:
        """Mark a call as waiting for a message inside the block; ``end`` ends the call."""
        wait = object()
        self._reading[wait] = time.monotonic(), end
        try:
            yield
        finally:
            del self._reading[wait]

    @contextmanager
    def to_write(self) -> Iterator[None]:
        """Mark a call, inside the block, as waiting for its client to take an answer.

        Raises ConnectionsRenewed if connections have been closing for STREAM_SECONDS.
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
        """End calls that wait for messages; return once all calls left wait for their clients.

        A client that takes no answers cannot be told that its call ends.
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
            patience = IDLE_SECONDS if idle else STREAM_SECONDS  # for messages that are arriving
            if idle == self._calls and now - began >= patience:
                return
