"""Server of memories, from opening its data folder until all of it is closed."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from grpc_health.v1 import health_pb2

from visual_memory.v1 import open_inference_pb2_grpc, service_pb2_grpc
from visual_memory_index import DEFAULT_RULES, FILES_LEFT, FolderLock, check_folder, running_threads
from visual_memory_service.access.callers import Callers
from visual_memory_service.access.secret_files import tell_if_open
from visual_memory_service.config import BadSetting, Settings
from visual_memory_service.convert.requests import SERVICE
from visual_memory_service.decisions.calibration import SETTING as CALIBRATION
from visual_memory_service.erasure.signing_keys import SigningKeys
from visual_memory_service.erasure.unlearn import UnlearningWork
from visual_memory_service.runtime.backups import Backups
from visual_memory_service.runtime.exits import end_at_exit
from visual_memory_service.runtime.heap import keep_freed_memory
from visual_memory_service.runtime.memories import KEPT_OPEN, Memories
from visual_memory_service.runtime.operations import Operations
from visual_memory_service.runtime.threads import enough_threads
from visual_memory_service.runtime.timeline import Watch
from visual_memory_service.server_parts import (
    callers_of,
    certificates_of,
    check_extras,
    check_open,
    http_of,
    metrics_of,
    traces_of,
)
from visual_memory_service.wire.certificates import Certificates
from visual_memory_service.wire.health import Health
from visual_memory_service.wire.inference import SERVICE as INFERENCE_SERVICE
from visual_memory_service.wire.inference import InferenceServicer
from visual_memory_service.wire.listener import Listener, check_free, stop_event, tell
from visual_memory_service.wire.rerank import Rerankers
from visual_memory_service.wire.servicer import Servicer
from visual_memory_service.writes.reembed import Reembedding

BLOCKED_THREADS = 64  # threads that wait for the disk, a lock or the embedders; few compute
DESCRIPTORS_MIN, DESCRIPTORS_MAX = FILES_LEFT + 24, 65_536
FILES_OF_KEPT = 16  # a memory has eight, so half of the files are for memories that stay open
SWEEP_SECONDS = 5.0  # between looks for memories that are idle
SPARE_THREADS = 32  # for gRPC and the libraries of embedders
FITTED = (CALIBRATION,)  # settings computed from entries
log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls under way.

    Prints ``listening on HOST:PORT`` once it answers. Raises BadSetting, and errors of opening.
    """
    check_folder(settings.data)  # before threads compile loops, for which the end would wait
    if (settings.data / "catalog.sqlite").is_file():
        FolderLock(settings.data).close()  # a server of this folder is named, rather than its port
    for name, listen in settings.addresses.items():
        check_free(listen, name)  # before there is a data folder, which opening makes
    check_extras(settings)
    for path in sorted((settings.data / "keys").glob("*.*")):
        tell_if_open(path)
    callers = callers_of(settings)
    certificates = certificates_of(settings)
    check_open(settings, callers)
    keep_freed_memory()
    end_at_exit()  # also while it starts
    use_all_descriptors()
    with enough_threads():
        asyncio.run(run(settings, callers, certificates))


def use_all_descriptors() -> None:
    """Raise the limit of open files and connections to the system's maximum, up to 65,536.

    Raises BadSetting if it is below 64: without files gRPC ends the process, and says nothing.
    """
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < DESCRIPTORS_MIN:
        raise BadSetting(
            f"The server may have {most} files open; it needs {DESCRIPTORS_MIN}, and eight more "
            "for each memory, one for each connection: let it have more (ulimit -n)."
        )
    with suppress(ValueError, OSError):  # macOS allows fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(few, min(most, DESCRIPTORS_MAX)), most))


async def run(settings: Settings, callers: Callers, certificates: Certificates | None) -> None:
    """Start all parts of the server on the running event loop, and serve until a signal."""
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(running_threads(BLOCKED_THREADS, "call"))
    stopping = stop_event()
    states = Health()
    serving: set[asyncio.Task[None]] = set()
    to_resume: asyncio.Queue[str] = asyncio.Queue()

    def say(memory: str, serves: bool) -> None:
        state = health_pb2.HealthCheckResponse.SERVING
        if not serves:
            state = health_pb2.HealthCheckResponse.NOT_SERVING
        task = loop.create_task(states.set(f"memories/{memory}", state))
        serving.add(task)
        task.add_done_callback(serving.discard)

    def changed(memory: str, serves: bool) -> None:
        loop.call_soon_threadsafe(say, memory, serves)

    def unfinished(memory: str) -> None:
        loop.call_soon_threadsafe(to_resume.put_nowait, memory)

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept_open = min(KEPT_OPEN, files // FILES_OF_KEPT)
    operations = Operations(kept_open)
    open_memories = partial(
        Memories,
        settings,
        changed,
        unfinished,
        works_on=operations.works_on,
        fitted=FITTED,
        kept_open=kept_open,
    )
    async with AsyncExitStack() as closing:
        opening = asyncio.ensure_future(asyncio.to_thread(open_memories))
        await first_of(opening, stopping)
        if not opening.done():  # a thread that reads cannot be stopped, but all it writes is whole
            log.info("stopped", problem="before all memories were open")
            os._exit(0)
        memories = opening.result()
        closing.push_async_callback(asyncio.to_thread, memories.close)
        backups = Backups(memories)
        closing.push_async_callback(asyncio.to_thread, backups.close)
        closing.push_async_callback(asyncio.to_thread, operations.close)
        rerankers = Rerankers(settings)
        closing.push_async_callback(rerankers.close)
        keys = await asyncio.to_thread(SigningKeys, settings.data)

        async def renew_connections() -> None:
            renewing = [listener.renew()] if http is None else [listener.renew(), http.renew()]
            await asyncio.gather(*renewing)
            if http is not None:
                await http.let_go()

        def renew() -> Future[None]:
            return asyncio.run_coroutine_threadsafe(renew_connections(), loop)

        reembedding = Reembedding(memories, operations, (*FITTED, DEFAULT_RULES))
        unlearning = UnlearningWork(memories, operations, keys, renew, settings, reembedding.resume)

        def add(server: Any, connections_closing: asyncio.Event) -> None:
            servicer = Servicer(
                memories,
                rerankers,
                operations,
                unlearning,
                reembedding,
                backups,
                settings,
                connections_closing,
            )
            service_pb2_grpc.add_VisualMemoryServicer_to_server(servicer, server)
            open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
                InferenceServicer(servicer, states), server
            )

        sockets = None
        if settings.http_listen is not None:
            sockets = Path(closing.enter_context(TemporaryDirectory(prefix="visual-memory-")))
        traces = traces_of(settings)
        if traces is not None:
            closing.push_async_callback(asyncio.to_thread, traces.close)
        running_threads(SPARE_THREADS, "spare").shutdown()  # gRPC would say nothing without any
        listener = Listener(
            settings.listen,
            settings,
            (SERVICE, INFERENCE_SERVICE.full_name),
            add,
            states,
            callers=callers,
            public=settings.public,
            certificates=certificates,
            watch=Watch(settings.slow_seconds, None if traces is None else traces.add),
            sockets=sockets,
        )
        http = http_of(settings, listener, callers, certificates)
        resuming = loop.create_task(resume_unfinished(to_resume, unlearning, reembedding))
        closing.callback(resuming.cancel)
        sweeping = loop.create_task(close_idle(memories))
        closing.callback(sweeping.cancel)
        metrics = metrics_of(settings, memories, operations, listener, certificates)
        if metrics is not None:
            closing.push_async_callback(asyncio.to_thread, metrics.close)
        address = await listener.start()
        if http is not None:
            at = await http.start()
            closing.push_async_callback(http.close)
            tell(f"http on {at}")
        end_at_exit()  # after embedders have loaded libraries, whose own would be called before
        if metrics is not None:
            tell(f"metrics on {metrics.address}")
        log.info(
            "serving",
            address=address,
            data=str(settings.data),
            memories=memories.names(),
            seconds=round(time.perf_counter() - began, 2),
            instructions=memories.indexes.instructions,
        )
        memories.checks.start(memories.names())
        await stopping.wait()
        stop = asyncio.to_thread(operations.close)  # or calls awaiting an operation would not end
        draining = [listener.drain()] if http is None else [listener.drain(), http.drain()]
        await asyncio.gather(stop, *draining)
    log.info("stopped")


async def first_of(work: asyncio.Future[Any], event: asyncio.Event) -> None:
    """Wait until ``work`` is done or ``event`` is set."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait((work, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def resume_unfinished(
    to_resume: asyncio.Queue[str], unlearning: UnlearningWork, reembedding: Reembedding
) -> None:
    """Resume the erasures and re-embeddings of each memory that has some, until cancelled."""
    while True:
        memory = await to_resume.get()
        try:
            await asyncio.to_thread(unlearning.resume, memory)
            await asyncio.to_thread(reembedding.resume, memory)
        except Exception as error:  # nobody waits for this task
            log.error("operations not gone on with", memory=memory, exc_info=error)


async def close_idle(memories: Memories) -> None:
    """Close idle memories, again and again, until cancelled."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await asyncio.to_thread(memories.close_idle)
        except Exception as error:  # nobody waits for this task
            log.error("idle memories not closed", exc_info=error)
