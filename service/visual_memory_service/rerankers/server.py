"""A running re-ranker: its one call, health and reflection, until it has drained."""

from __future__ import annotations

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from visual_memory.v1 import reranker_pb2 as pb
from visual_memory.v1 import reranker_pb2_grpc
from visual_memory_service.convert.reranking import SERVICE, from_ranking, to_rerank
from visual_memory_service.health import Health
from visual_memory_service.interceptors import Guard
from visual_memory_service.rerankers.candidate import Reranker
from visual_memory_service.server import bind

CALLS_MAX = 128  # more are refused by gRPC
CALLS_AT_ONCE = 16  # the others wait, until their deadline
MESSAGE_BYTES_MAX = 256 << 20  # more are refused by gRPC
PENDING_BYTES_MAX = 1 << 30
DRAIN_SECONDS = 30.0
log = structlog.get_logger()


class Servicer(reranker_pb2_grpc.RerankerServicer):
    """Every call in a thread of its own."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    async def Rerank(self, request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        remaining = context.time_remaining()
        deadline = inf if remaining is None else time.monotonic() + remaining
        return await asyncio.to_thread(self._rerank, request, deadline)

    def _rerank(self, request: pb.RerankRequest, deadline: float) -> pb.RerankResponse:
        picture, candidates = to_rerank(request)
        return from_ranking(self._reranker.rerank(picture, candidates, deadline=deadline))


def serve(reranker: Reranker, listen: str) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls under way.

    Prints ``listening on HOST:PORT`` once it answers. Raises BadSetting.
    """
    asyncio.run(run(reranker, listen))


async def run(reranker: Reranker, listen: str) -> None:
    """See ``serve``."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="rerank"))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    states = Health()
    server = build(reranker, states)
    address = bind(server, listen)
    await server.start()
    for name in ("", SERVICE):
        await states.set(name, health_pb2.HealthCheckResponse.SERVING)
    print(f"listening on {address}", flush=True)
    log.info("serving", address=address, reranker=type(reranker).__name__)
    await stopping.wait()
    log.info("draining", seconds=DRAIN_SECONDS)
    await states.drain()
    await server.stop(DRAIN_SECONDS)
    log.info("stopped")


def build(reranker: Reranker, states: Health) -> Any:
    """The gRPC server with all its services."""
    server = grpc.aio.server(
        interceptors=[Guard(MESSAGE_BYTES_MAX, PENDING_BYTES_MAX)],
        maximum_concurrent_rpcs=CALLS_MAX,
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    reranker_pb2_grpc.add_RerankerServicer_to_server(Servicer(reranker), server)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return server
