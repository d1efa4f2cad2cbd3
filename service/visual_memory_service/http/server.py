"""The HTTP server: it listens, speaks TLS with the certificates of gRPC, and ends late clients."""

from __future__ import annotations

import asyncio
import logging
import math
import select
import socket
import time
from collections.abc import Collection, Sequence
from typing import Any

import h11
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from visual_memory_service.config import BadSetting, Settings, parse_address
from visual_memory_service.http.accepting import Acceptor
from visual_memory_service.http.answers import ABORT, GONE, READ_SECONDS
from visual_memory_service.http.gateway import Gateway
from visual_memory_service.http.routes import VERBS
from visual_memory_service.wire.certificates import Certificates
from visual_memory_service.wire.connections import most_connections
from visual_memory_service.wire.listener import address_problem
from visual_memory_service.wire.methods import CERTIFICATE_NAMES

HEAD_SECONDS = 10.0  # in which the head of a request must have come
KEEP_ALIVE_SECONDS = 60.0
LOOK_SECONDS = 0.05
CLIENTS_SECONDS = 1.0  # between looks for clients that have hung up
HUNG_UP = getattr(select, "POLLRDHUP", 0)  # Linux alone tells it before all has been read
TELLING = ("uvicorn", "python_multipart")  # what they say of bytes could fill the log, unlike JSON
ENDS_OF_BODY = frozenset({b"content-length", b"transfer-encoding"})


class HttpServer:
    """Serves a gateway at an address from its start until it is drained."""

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        certificates: Certificates | None,
    ) -> None:
        self._settings, self._gateway, self._certificates = settings, gateway, certificates
        self._listen = settings.http_listen or ""
        self._state = ServerState()
        self._config = Config(
            application(gateway, settings.http_origins),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=int(2 * KEEP_ALIVE_SECONDS),  # ours is shorter
        )
        self._config.load()
        for name in TELLING:
            logger = logging.getLogger(name)
            logger.addHandler(logging.NullHandler())
            logger.propagate = False

    async def start(self) -> str:
        """Serve from now on, and return the address. Raises BadSetting."""
        listening = bound(self._listen)
        self._acceptor = Acceptor(
            listening,
            lambda: Connection(self._config, self._state, {}),
            self._state.connections,
            most_connections(self._settings, with_http=True),
            self._certificates,
        )
        self._looking = asyncio.ensure_future(self._look_for_clients())
        host, _ = parse_address(self._listen, "http_listen")
        return f"{host}:{listening.getsockname()[1]}"

    async def _look_for_clients(self) -> None:
        while True:
            await asyncio.sleep(CLIENTS_SECONDS)
            connections: Collection[Any] = self._state.connections
            for each in connections:
                each.look_for_client()

    async def renew(self) -> None:
        """Close all connections, whose buffers hold data, once what they ask is answered.

        Those that are not, or whose clients do not read, are broken off after ``drain_seconds``.
        """
        former = list(self._state.connections)
        for each in former:
            each.shutdown()
        end = time.monotonic() + self._settings.drain_seconds
        while not self._state.connections.isdisjoint(former) and time.monotonic() < end:
            self._gateway.end_waits()
            await asyncio.sleep(LOOK_SECONDS)
        for each in self._state.connections.intersection(former):
            each.transport.abort()

    async def let_go(self) -> None:
        """Close the connections to sockets that are gone, whose buffers hold data."""
        await self._gateway.let_go()

    async def drain(self) -> None:
        """Accept no more connections, and return once what was asked is answered."""
        self._acceptor.close()
        await self.renew()

    async def close(self) -> None:
        """Break off what is under way."""
        self._looking.cancel()
        self._acceptor.abort()
        for each in list(self._state.connections):
            each.transport.abort()
        await self._gateway.close()


def application(gateway: Gateway, origins: Sequence[str]) -> ASGIApp:
    """Return a gateway that pages of these sites may call too.

    A connection ends with a request that says twice where its body ends: a proxy in front may have
    read what follows as another request.
    """
    app: ASGIApp = gateway
    if origins:
        app = CORSMiddleware(
            gateway,
            allow_origins=origins,
            allow_methods=[verb.upper() for verb in VERBS],
            allow_headers=["authorization", "api-key", "content-type"],
        )

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if ENDS_OF_BODY.issubset(name for name, _ in scope["headers"]):
            scope["headers"].append(CLOSE_HEADER)  # as if the client had sent it
        await app(scope, receive, send)

    return answered


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
        raise BadSetting(address_problem(listen, problem, "http_listen")) from None
    return made


class Connection(H11Protocol):
    """An HTTP connection that is broken off where its client is late.

    That is with the head of a request, with the rest of a body of which nothing is wanted any more,
    with reading an answer, or with the next request. The app is told the names in the client's
    certificate, and how to break the connection off.
    """

    _deadline = math.inf  # by the clock of the loop; none while a request is answered
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._gone = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state[ABORT], self.app_state[GONE] = transport.abort, self._gone
        self.app_state[CERTIFICATE_NAMES] = names_in(transport.get_extra_info("peercert") or {})
        self._within(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # uvicorn answers wrong bytes after its answer
            self.transport.abort()
            return
        if not self._waits:
            self._deadline = math.inf  # whoever answers has time limits
        elif self._begun:
            self._within(min(HEAD_SECONDS, self._deadline - self.loop.time()))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._waits:  # the next request had come already
            self._deadline = math.inf
            return
        late = self._begun or self.transport.get_write_buffer_size()
        self._within(READ_SECONDS if late else KEEP_ALIVE_SECONDS)

    def look_for_client(self) -> None:
        """Notice a client that has hung up, also while nothing is read of what it has sent."""
        if self._waits or self.transport.is_closing():
            return
        looking = select.poll()
        looking.register(self.transport.get_extra_info("socket"), HUNG_UP)
        if looking.poll(0):
            self._gone.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        if self._timer is not None:
            self._timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    @property
    def _waits(self) -> bool:
        """True between requests."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _begun(self) -> bool:
        """True if a head, or a body of which nothing is wanted any more, has begun to come."""
        return self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])

    def _within(self, seconds: float) -> None:
        """Have the client do what is next within so many seconds."""
        self._deadline = self.loop.time() + seconds
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.loop.time() >= self._deadline:
            self.transport.abort()


def names_in(certificate: dict[str, Any]) -> list[str]:
    """Return the names in a client's certificate, which TLS has verified, as gRPC has them."""
    others = [name for _, name in certificate.get("subjectAltName", ()) if isinstance(name, str)]
    common = [
        value
        for part in certificate.get("subject", ())
        for kind, value in part
        if kind == "commonName"
    ]
    return [*others, *common[:1]]  # gRPC takes the first
