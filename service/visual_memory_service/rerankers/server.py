"""Server of a re-ranker, from its start until it has drained."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import Any

import structlog

from visual_memory.v1 import reranker_pb2 as pb
from visual_memory.v1 import reranker_pb2_grpc
from visual_memory_index import running_threads
from visual_memory_service.config import Bounds
from visual_memory_service.convert.reranking import SERVICE, from_ranking, to_rerank
from visual_memory_service.decisions.reranking import Reranker
from visual_memory_service.runtime.exits import end_at_exit
from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.wire.health import Health
from visual_memory_service.wire.listener import Listener, stop_event

BOUNDS = Bounds(calls_max=128, message_bytes_max=256 << 20, pending_bytes_max=1 << 30)
CALLS_AT_ONCE = 16  # the others wait, until their deadline
log = structlog.get_logger()


class Servicer(reranker_pb2_grpc.RerankerServicer):
    """The gRPC service of a re-ranker; each call runs in a thread of its own."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    async def Rerank(self, request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        remaining = context.time_remaining()
        deadline = inf if remaining is None else time.monotonic() + remaining
        return await in_thread(self._rerank, request, deadline)

    def _rerank(self, request: pb.RerankRequest, deadline: float) -> pb.RerankResponse:
        picture, candidates = to_rerank(request)
        return from_ranking(self._reranker.rerank(picture, candidates, deadline=deadline))


async def serve(reranker: Reranker, listen: str) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls under way.

    Prints ``listening on HOST:PORT`` once it answers. Raises BadSetting.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(running_threads(CALLS_AT_ONCE, "rerank"))
    stopping = stop_event()

    def add(server: Any, connections_closing: asyncio.Event) -> None:
        reranker_pb2_grpc.add_RerankerServicer_to_server(Servicer(reranker), server)

    listener = Listener(listen, BOUNDS, (SERVICE,), add, Health())
    address = await listener.start()
    end_at_exit()
    log.info("serving", address=address, reranker=type(reranker).__name__)
    await stopping.wait()
    await listener.drain()
    log.info("stopped")
