"""A running server of memories, from what it opens until all of it is closed."""

from __future__ import annotations

import asyncio
import ctypes
import resource
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog
from grpc_health.v1 import health_pb2

from visual_memory.v1 import service_pb2_grpc
from visual_memory_service.config import BadSetting, Settings
from visual_memory_service.convert.requests import SERVICE
from visual_memory_service.decisions.calibration import SETTING as CALIBRATION
from visual_memory_service.erasure.signing_keys import BadKey, SigningKeys
from visual_memory_service.erasure.unlearn import UnlearningWork
from visual_memory_service.runtime.backups import Copies
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Operations
from visual_memory_service.wire.admission import Bounds
from visual_memory_service.wire.health import Health
from visual_memory_service.wire.listener import Listener, check_free, told_to_stop
from visual_memory_service.wire.rerank import Rerankers
from visual_memory_service.wire.servicer import Servicer

BLOCKED_THREADS = 64  # threads that wait for the disk, a lock or the embedders; few compute
DESCRIPTORS_MAX = 65_536
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls under way.

    Prints ``listening on HOST:PORT`` once it answers. Raises BadSetting and what opening refuses.
    """
    check_free(settings.listen)  # before there is a data folder, which opening makes
    keep_freed_memory()
    use_all_descriptors()
    asyncio.run(run(settings))


def keep_freed_memory() -> None:
    """Have glibc use again what a message left behind, rather than ask the system for every one.

    Clearing fresh pages took a fifth of the time of an import. Other C libraries lack the call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 256 << 20)


def use_all_descriptors() -> None:
    """Open as many files and connections as the system allows, rather than as few as by default."""
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS allows fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(few, min(most, DESCRIPTORS_MAX)), most))


async def run(settings: Settings) -> None:
    """See ``serve``."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(BLOCKED_THREADS, thread_name_prefix="call"))
    stopping = told_to_stop()
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
        copies = Copies(memories, fitted=[CALIBRATION])
        closing.push_async_callback(asyncio.to_thread, copies.close)
        operations = Operations()
        closing.push_async_callback(asyncio.to_thread, operations.close)
        rerankers = Rerankers(settings)
        closing.push_async_callback(rerankers.close)
        try:
            keys = await asyncio.to_thread(SigningKeys, settings.data)
        except BadKey as bad:
            raise BadSetting(str(bad)) from None

        def renew() -> Future[None]:
            return asyncio.run_coroutine_threadsafe(listener.renew(), loop)

        unlearning = UnlearningWork(memories, operations, keys, renew)

        def add(server: Any, leaving: asyncio.Event) -> None:
            servicer = Servicer(
                memories, rerankers, operations, unlearning, copies, settings, leaving
            )
            service_pb2_grpc.add_VisualMemoryServicer_to_server(servicer, server)

        async def go_on() -> None:
            while True:
                memory = await begun.get()
                try:
                    await asyncio.to_thread(unlearning.go_on, memory)
                except Exception as error:  # nobody waits for this task
                    log.error("erasures not gone on with", memory=memory, exc_info=error)

        listener = Listener(settings.listen, bounds(settings), SERVICE, add, states)
        going_on = loop.create_task(go_on())
        closing.callback(going_on.cancel)
        address = await listener.start()
        log.info("serving", address=address, data=str(settings.data), memories=memories.names())
        memories.checks.start(memories.names())
        await stopping.wait()
        stop = asyncio.to_thread(operations.close)  # or calls that wait for one would not end
        await asyncio.gather(stop, listener.drain())
    log.info("stopped")


def bounds(settings: Settings) -> Bounds:
    """Those of its settings that any server has."""
    return Bounds(
        calls_max=settings.calls_max,
        connection_calls_max=settings.connection_calls_max,
        connections_max=settings.connections_max,
        message_bytes_max=settings.message_bytes_max,
        pending_bytes_max=settings.pending_bytes_max,
        idle_seconds=settings.idle_seconds,
        drain_seconds=settings.drain_seconds,
    )
