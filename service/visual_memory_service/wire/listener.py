"""The gRPC server of services, with health and reflection, from its first call until drained."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from visual_memory_service.access.callers import Callers
from visual_memory_service.config import INT32_MAX, BadSetting, Bounds, parse_address
from visual_memory_service.runtime.timeline import Watch
from visual_memory_service.wire.admission import AdmissionControl
from visual_memory_service.wire.certificates import Certificates
from visual_memory_service.wire.connections import Connections, most_connections
from visual_memory_service.wire.health import Health, HealthService
from visual_memory_service.wire.interceptors import UNWATCHED, CallInterceptor

CANCELLED = 4  # cancelled calls, per call allowed, that Python may not have ended yet
OPTIONS = [
    ("grpc.max_send_message_length", -1),
    # A new server listens on the same port while the old server ends.
    ("grpc.so_reuseport", 1),
    # Calls wait for their turn; by default gRPC would cancel some of them at random.
    ("grpc.server.max_pending_requests", INT32_MAX),
    ("grpc.server.max_pending_requests_hard_limit", INT32_MAX),
    ("grpc.server_max_unrequested_time_in_server", INT32_MAX),
    # Data buffered until a call receives them: they would grow with the network's speed.
    ("grpc.http2.bdp_probe", 0),
    # A compressed message is small until gRPC has read it.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # Shorter than our client waits for a server to accept its connection.
    ("grpc.server_handshake_timeout_ms", 3_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]
log = structlog.get_logger()

Add = Callable[[Any, asyncio.Event], None]


def stop_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set from now on."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


class Listener:
    """Serves services at one address, by gRPC servers that can be replaced meanwhile.

    ``add`` adds ``services`` to a gRPC server, with an event that is set when the connections of
    that server are about to close. What is ``public`` is answered without a key of ``callers``;
    without those all is. With ``certificates`` it speaks TLS. If there is a folder of ``sockets``,
    each server listens on a ``socket`` of its own in it too, which is a path.
    """

    def __init__(
        self,
        listen: str,
        bounds: Bounds,
        services: Sequence[str],
        add: Add,
        states: Health,
        *,
        callers: Callers | None = None,
        public: Collection[str] = (),
        certificates: Certificates | None = None,
        watch: Watch = UNWATCHED,
        sockets: Path | None = None,
    ) -> None:
        self._address, self._bounds, self._sockets = listen, bounds, sockets
        self._callers, self._public, self._certificates = callers, public, certificates
        self._watch = watch
        self._services, self._add, self._states = services, add, states
        self.admission = AdmissionControl(bounds)
        self._server: Any = None
        self._draining = False
        self._begun = 0
        self.socket = ""
        self._changing = asyncio.Lock()

    async def start(self) -> str:
        """Serve from now on, and print ``listening on HOST:PORT``; return the address.

        Raises BadSetting, and BrokenPipeError if nobody reads the line.
        """
        check_free(self._address)
        async with self._changing:
            self._address = await self._begin()
        for name in ("", *self._services):
            await self._states.set(name, health_pb2.HealthCheckResponse.SERVING)
        try:
            tell(f"listening on {self._address}")
        except (BadSetting, BrokenPipeError):
            await self._server.stop(None)
            raise
        self._watching = asyncio.create_task(self.admission.watch())
        return self._address

    async def renew(self) -> None:
        """Close all connections, whose buffers hold data; a new server accepts connections instead.

        Calls under way may end first, as in a drain; streams that wait for their clients are ended.
        Does nothing before the start, when there are no connections, and while the server drains.
        Raises BadSetting if no new server can listen beside the former one, which then goes on.
        """
        async with self._changing:
            if self._server is None or self._draining:
                return
            former, connections = self._server, self._connections
            await self._begin()
        connections.closing.set()
        await self._states.wake()
        stopping = asyncio.create_task(former.stop(self._bounds.drain_seconds))
        ending = asyncio.create_task(connections.end())
        await asyncio.wait([stopping, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        await asyncio.gather(stopping, former.stop(None))

    async def drain(self) -> None:
        """Refuse new calls; return once calls under way have ended or ``drain_seconds`` are over.

        Streams end as in ``renew``. New calls are refused with a sentence, whereas a gRPC server
        that stops breaks them off.
        """
        loop, seconds = asyncio.get_running_loop(), self._bounds.drain_seconds
        end = loop.time() + seconds
        log.info("draining", seconds=seconds)
        await self._states.drain()
        async with self._changing:
            self._draining = True
        self._connections.closing.set()
        ending = asyncio.create_task(self._connections.end())
        with suppress(TimeoutError):
            await asyncio.wait_for(self.admission.drain(), seconds)
        self._watching.cancel()
        await self._server.stop(max(end - loop.time(), 0))
        ending.cancel()

    async def _begin(self) -> str:
        connections = Connections()
        server = grpc.aio.server(
            interceptors=[
                CallInterceptor(
                    self.admission, connections, self._callers, self._public, self._watch
                )
            ],
            options=[*OPTIONS, *limits(self._bounds, with_http=self._sockets is not None)],
        )
        health_pb2_grpc.add_HealthServicer_to_server(
            HealthService(self._states, connections.closing), server
        )
        names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        self._add(server, connections.closing)
        address = bind(server, self._address, self._certificates)
        if self._sockets is not None:
            self._begun += 1  # a server that ends removes its socket
            path = str(self._sockets / str(self._begun))
            server.add_insecure_port(f"unix:{path}")
        await server.start()
        if self._sockets is not None:
            self.socket = path
        self._server, self._connections = server, connections
        return address


def tell(line: str) -> None:
    """Print where something listens. Raises BadSetting, and BrokenPipeError if nobody reads it."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadSetting(f"Its address could not be written: {error.strerror}.") from None


def limits(bounds: Bounds, *, with_http: bool) -> list[tuple[str, int]]:
    """Return gRPC options for the limits that apply before a call reaches the interceptor."""
    connections = most_connections(bounds, with_http=with_http)
    return [
        # Twice the limit reaches the interceptor, whose sentence says how to split.
        ("grpc.max_receive_message_length", 2 * bounds.message_bytes_max),
        # Further calls wait in their client. Calls that a client cancelled may not have ended here:
        # beyond a limit gRPC breaks them off, so that they cost other connections nothing.
        ("grpc.max_concurrent_streams", bounds.connection_calls_max),
        ("grpc.http2.max_deallocating_streams", CANCELLED * bounds.connection_calls_max),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.max_connection_idle_ms", int(1000 * bounds.idle_seconds)),
    ]


def check_free(listen: str, name: str = "listen") -> None:
    """Raise BadSetting if the address is not available, or another program uses its port.

    The setting has this ``name``.

    gRPC alone would not notice the other program, and would share the port.
    """
    host, port = parse_address(listen, name)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host.strip("[]"), port))
        except OSError as error:
            raise BadSetting(address_problem(listen, error, name)) from None


def bind(server: Any, listen: str, certificates: Certificates | None) -> str:
    """Bind a server, and return its address with the port it got. Raises BadSetting."""
    host, _ = parse_address(listen)
    try:
        if certificates is None:
            bound = server.add_insecure_port(listen)
        else:
            bound = server.add_secure_port(listen, certificates.credentials())
    except RuntimeError:
        bound = 0
    if not bound:
        raise BadSetting(address_problem(listen))
    return f"{host}:{bound}"


def is_loopback(listen: str, name: str = "listen") -> bool:
    """Return True if only this machine reaches the address of the setting of this ``name``.

    Raises BadSetting if it is none.
    """
    host, _ = parse_address(listen, name)
    with suppress(ValueError):
        return ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def address_problem(listen: str, error: OSError | None = None, name: str = "listen") -> str:
    """Return a sentence on an address that is not available, with the reason if it is known.

    The setting has this ``name``.
    """
    other = f"choose another with --{name.replace('_', '-')}"
    if error is not None and error.errno == errno.EADDRNOTAVAIL:
        return f"{listen} cannot be listened on: this machine has no such address; {other}."
    if error is not None and error.errno != errno.EADDRINUSE:
        return f"{listen} cannot be listened on: {error.strerror}; {other}."
    return (
        f"{listen} cannot be listened on; is another program using that port? A server that was "
        f"told to stop may still be finishing its calls: wait for it, or {other}."
    )
