"""Accepts the connections of HTTP: they count from then on, so also before TLS has begun."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

import structlog

from visual_memory_service.wire.certificates import Certificates

HANDSHAKE_SECONDS = 10.0  # in which a client must have begun to speak TLS
SHUTDOWN_SECONDS = 1.0  # in which it must have ended TLS; idle clients do not answer
BACKLOG = 1024  # connections that may arrive at once; any more try again after a second
AGAIN_SECONDS = 1.0  # after which it is tried again to accept, where the system had no room
log = structlog.get_logger()


class Acceptor:
    """Gives each connection at a ``listening`` socket a protocol, until it is closed.

    There are ``most`` at once, those included that do not speak TLS yet; any more are closed at
    once. A protocol is in ``connected`` as long as it is connected.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connected: AbstractSet[Any],
        most: int,
        certificates: Certificates | None = None,
    ) -> None:
        listening.listen(BACKLOG)
        listening.setblocking(False)
        self._listening, self._protocol = listening, protocol
        self._connected, self._most, self._certificates = connected, most, certificates
        self._arriving = dict[asyncio.Protocol, asyncio.Task[None]]()
        self._accepting = asyncio.ensure_future(self._accept())

    def close(self) -> None:
        """Accept no more connections."""
        self._accepting.cancel()

    def abort(self) -> None:
        """Accept no more connections, and break off those that do not speak TLS yet."""
        self.close()
        for each in self._arriving.values():
            each.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        with self._listening:
            while True:
                await asyncio.sleep(0)  # or no other task would run while many arrive
                try:
                    arrived, _ = await loop.sock_accept(self._listening)
                except ConnectionAbortedError:
                    continue
                except OSError as problem:
                    log.warning("not accepted", problem=problem.strerror, by="http")
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                if self._count() < self._most:
                    protocol = self._protocol()
                    self._arriving[protocol] = loop.create_task(self._connect(arrived, protocol))
                else:
                    arrived.close()

    def _count(self) -> int:
        return len(self._connected) + len(self._arriving.keys() - self._connected)

    async def _connect(self, arrived: socket.socket, protocol: asyncio.Protocol) -> None:
        secured: dict[str, Any] = {}
        try:
            if self._certificates is not None:
                secured = {
                    "ssl": self._certificates.context(),
                    "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                    "ssl_shutdown_timeout": SHUTDOWN_SECONDS,
                }
            with suppress(OSError):  # of a stranger, who could fill the log
                loop = asyncio.get_running_loop()
                await loop.connect_accepted_socket(lambda: protocol, arrived, **secured)
        finally:
            del self._arriving[protocol]
