"""A running server: its calls, health and reflection, from the first line until it has drained."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from visual_memory.v1 import service_pb2_grpc
from visual_memory_service.config import BadSetting, Settings
from visual_memory_service.convert.requests import SERVICE
from visual_memory_service.copies import Copies
from visual_memory_service.health import Health
from visual_memory_service.interceptors import Guard
from visual_memory_service.keys import BadKey, SigningKeys
from visual_memory_service.memories import Memories
from visual_memory_service.operations import Operations
from visual_memory_service.reranking import Rerankers
from visual_memory_service.servicer import Servicer
from visual_memory_service.unlearn import UnlearningWork

BLOCKED_THREADS = 64  # threads that wait for the disk, a lock or the embedders; few compute
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls under way.

    Prints ``listening on HOST:PORT`` once it answers. Raises BadSetting and what opening refuses.
    """
    keep_freed_memory()
    asyncio.run(run(settings))


def keep_freed_memory() -> None:
    """Have glibc use again what a message left behind, rather than ask the system for every one.

    Clearing fresh pages took a fifth of the time of an import. Other C libraries lack the call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 256 << 20)


async def run(settings: Settings) -> None:
    """See ``serve``."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(BLOCKED_THREADS, thread_name_prefix="call"))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    states = Health()
    serving: set[asyncio.Task[None]] = set()
    begun: asyncio.Queue[str] = asyncio.Queue()

    def say(memory: str, serves: bool) -> None:
        state = health_pb2.HealthCheckResponse.SERVING
        if not serves:
            state = health_pb2.HealthCheckResponse.NOT_SERVING
        task = loop.create_task(states.set(f"memories/{memory}", state))
        serving.add(task)
        task.add_done_callback(serving.discard)
        if serves:
            begun.put_nowait(memory)

    def changed(memory: str, serves: bool) -> None:
        loop.call_soon_threadsafe(say, memory, serves)

    async with AsyncExitStack() as closing:
        memories = await asyncio.to_thread(Memories, settings, changed)
        closing.push_async_callback(asyncio.to_thread, memories.close)
        copies = Copies(memories)
        closing.push_async_callback(asyncio.to_thread, copies.close)
        operations = Operations()
        closing.push_async_callback(asyncio.to_thread, operations.close)
        rerankers = Rerankers(settings)
        closing.push_async_callback(rerankers.close)
        try:
            keys = await asyncio.to_thread(SigningKeys, settings.data)
        except BadKey as bad:
            raise BadSetting(str(bad)) from None

        def renew() -> None:
            asyncio.run_coroutine_threadsafe(listener.renew(), loop).result()

        unlearning = UnlearningWork(memories, operations, keys, renew)

        def servicer(leaving: asyncio.Event) -> Servicer:
            return Servicer(memories, rerankers, operations, unlearning, copies, settings, leaving)

        async def go_on() -> None:
            while True:
                await asyncio.to_thread(unlearning.go_on, await begun.get())

        listener = Listener(settings, servicer, states)
        going_on = loop.create_task(go_on())
        closing.callback(going_on.cancel)
        address = await listener.start()
        for name in ("", SERVICE):
            await states.set(name, health_pb2.HealthCheckResponse.SERVING)
        print(f"listening on {address}", flush=True)
        log.info("serving", address=address, data=str(settings.data), memories=memories.names())
        memories.checks.start(memories.names())
        await stopping.wait()
        log.info("draining", seconds=settings.drain_seconds)
        await states.drain()
        stop = asyncio.to_thread(operations.close)  # or calls that wait for one would not end
        await asyncio.gather(stop, listener.stop())
    log.info("stopped")


class Listener:
    """The gRPC server, which can be made anew while it serves.

    ``servicer`` is told by an event when its connections are about to end.
    """

    def __init__(
        self, settings: Settings, servicer: Callable[[asyncio.Event], Servicer], states: Health
    ) -> None:
        self._settings, self._servicer, self._states = settings, servicer, states
        self._guard = Guard(settings.message_bytes_max, settings.pending_bytes_max)

    async def start(self) -> str:
        """Answer from now on; the address. Raises BadSetting."""
        check_free(self._settings.listen)
        self._address = self._settings.listen
        self._address = await self._begin()
        return self._address

    async def renew(self) -> None:
        """Close all connections, with what their buffers hold; new ones are taken meanwhile.

        Calls under way may end first, as when the server drains.
        """
        former, leaving = self._server, self._leaving
        await self._begin()
        leaving.set()
        await former.stop(self._settings.drain_seconds)

    async def stop(self) -> None:
        """End, once the calls under way have, or their time is up."""
        self._leaving.set()
        await self._server.stop(self._settings.drain_seconds)

    async def _begin(self) -> str:
        self._leaving = asyncio.Event()
        self._server = build(
            self._settings, self._guard, self._servicer(self._leaving), self._states
        )
        address = bind(self._server, self._address)
        await self._server.start()
        return address


def check_free(listen: str) -> None:
    """Raises BadSetting where another program uses the port, which gRPC would share with it."""
    host, port = parsed(listen)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host.strip("[]"), port))
        except OSError:
            raise BadSetting(taken(listen)) from None


def build(settings: Settings, guard: Guard, servicer: Servicer, states: Health) -> Any:
    """The gRPC server with all its services."""
    server = grpc.aio.server(
        interceptors=[guard],
        maximum_concurrent_rpcs=settings.calls_max,
        options=[
            # Twice the limit reaches the interceptor, whose sentence says how to split.
            ("grpc.max_receive_message_length", 2 * settings.message_bytes_max),
            ("grpc.max_send_message_length", -1),
            # A server that is made anew takes over while the old one ends.
            ("grpc.so_reuseport", 1),
        ],
    )
    service_pb2_grpc.add_VisualMemoryServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return server


def bind(server: Any, listen: str) -> str:
    """The address that is served; port 0 becomes a free one. Raises BadSetting."""
    host, _ = parsed(listen)
    try:
        bound = server.add_insecure_port(listen)
    except RuntimeError:
        bound = 0
    if not bound:
        raise BadSetting(taken(listen))
    return f"{host}:{bound}"


def taken(listen: str) -> str:
    """What to say of an address that cannot be had."""
    return f"{listen} cannot be listened on; is another program using that port?"


def parsed(listen: str) -> tuple[str, int]:
    """Host and port. Raises BadSetting."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadSetting(f'listen must be HOST:PORT, but is "{listen}".')
    return host, int(port)
