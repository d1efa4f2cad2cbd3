"""The HTTP server: it listens, speaks TLS with the certificates of gRPC, and ends late clients."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from visual_memory_service.config import BadSetting, Settings, parse_address
from visual_memory_service.http.gateway import Gateway
from visual_memory_service.http.routes import VERBS
from visual_memory_service.wire.certificates import Certificates
from visual_memory_service.wire.methods import CERTIFICATE_NAMES

HEAD_SECONDS = 10.0  # in which the head of a request must have come
KEEP_ALIVE_SECONDS = 60.0
BYTES_PER_SECOND_MIN = 1 << 20  # of a client that reads an answer
LOOK_SECONDS = 0.05


class HttpServer:
    """Serves a gateway at an address from its start until it is drained."""

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        certificates: Certificates | None,
    ) -> None:
        assert settings.http_listen is not None
        self._listen, self._gateway, self._certificates = (
            settings.http_listen,
            gateway,
            certificates,
        )
        self._drain_seconds = settings.drain_seconds
        self._state = ServerState()
        self._config = Config(
            application(gateway, settings.http_origins),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            limit_concurrency=settings.connections_max,
            timeout_keep_alive=int(KEEP_ALIVE_SECONDS),
        )
        self._config.load()

    async def start(self) -> str:
        """Serve from now on, and return the address. Raises BadSetting."""
        listening = bound(self._listen)
        context = None if self._certificates is None else Reloaded(self._certificates)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._config, self._state, {}), sock=listening, ssl=context
        )
        host, _ = parse_address(self._listen, "http_listen")
        return f"{host}:{listening.getsockname()[1]}"

    async def renew(self) -> None:
        """Close all connections, whose buffers hold data, once what they ask is answered.

        Those that are not, or whose clients do not read, are broken off after ``drain_seconds``.
        """
        former = list(self._state.connections)
        for each in former:
            each.shutdown()
        end = time.monotonic() + self._drain_seconds
        while not self._state.connections.isdisjoint(former) and time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
        for each in self._state.connections.intersection(former):
            each.transport.abort()

    async def let_go(self) -> None:
        """Close the connections to sockets that are gone, whose buffers hold data."""
        await self._gateway.let_go()

    async def drain(self) -> None:
        """Accept no more connections, and return once what was asked is answered."""
        self._server.close()
        await self.renew()

    async def close(self) -> None:
        """Break off what is under way."""
        self._server.close()
        for each in list(self._state.connections):
            each.transport.abort()
        await self._gateway.close()


def application(gateway: Gateway, origins: Sequence[str]) -> ASGIApp:
    """Return a gateway that pages of these sites may call too."""
    if not origins:
        return gateway
    return CORSMiddleware(
        gateway,
        allow_origins=origins,
        allow_methods=[verb.upper() for verb in VERBS],
        allow_headers=["authorization", "api-key", "content-type"],
    )


def bound(listen: str) -> socket.socket:
    """Return a socket bound to an address. Raises BadSetting."""
    host, port = parse_address(listen, "http_listen")
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host.strip("[]"), port))
    except OSError as problem:
        made.close()
        raise BadSetting(
            f"http_listen {listen} cannot be listened on: {problem.strerror}."
        ) from None
    return made


class Reloaded(ssl.SSLContext):
    """A TLS context that gives each connection the certificates as they are then."""

    def __new__(cls, certificates: Certificates) -> Reloaded:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._certificates = certificates
        return made

    _certificates: Certificates

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self._certificates.context().wrap_bio(*args, **kwargs)


class Connection(H11Protocol):
    """An HTTP connection, aborted where the head of a request or the reading of an answer is late.

    The app is told the names in the client's certificate.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state[CERTIFICATE_NAMES] = names_in(transport.get_extra_info("peercert") or {})
        self._within(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._awaits_head:
            self._forget()
        elif self._late is None:
            self._within(HEAD_SECONDS)

    def on_response_complete(self) -> None:
        self._forget()
        if left := self.transport.get_write_buffer_size():
            self._within(HEAD_SECONDS + left / BYTES_PER_SECOND_MIN)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    @property
    def _awaits_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _within(self, seconds: float) -> None:
        self._late = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Abort the connection if its client has not read the answer, or begun without ending."""
        self._late = None
        begun = self.cycle is None or bool(self.conn.trailing_data[0])
        if self.transport.get_write_buffer_size() or (self._awaits_head and begun):
            self.transport.abort()

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def names_in(certificate: dict[str, Any]) -> list[str]:
    """Return the names in a client's certificate, which TLS has verified, as gRPC has them."""
    others = [name for _, name in certificate.get("subjectAltName", ())]
    common = [
        value
        for part in certificate.get("subject", ())
        for kind, value in part
        if kind == "commonName"
    ]
    return [*others, *common]
