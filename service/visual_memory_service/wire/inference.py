"""The Open Inference Protocol (KServe v2), answered by the calls of our own service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpc_health.v1 import health_pb2

import visual_memory
from visual_memory.scopes import INFERENCE
from visual_memory.v1 import open_inference_pb2 as inference
from visual_memory.v1 import open_inference_pb2_grpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index.errors import MemoryRefusal
from visual_memory_service.access.callers import caller
from visual_memory_service.access.limits import PIXELS
from visual_memory_service.convert.inference import (
    PLATFORM,
    from_classified,
    from_memory,
    to_classify,
)
from visual_memory_service.convert.requests import pixels
from visual_memory_service.errors import OtherVersion
from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.wire.health import Health
from visual_memory_service.wire.servicer import Servicer

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE = inference.DESCRIPTOR.services_by_name["GRPCInferenceService"]
if unlike := INFERENCE.keys() ^ {each.name for each in SERVICE.methods}:
    raise ValueError(f"in the table of scopes or in the protocol alone: {sorted(unlike)}")


@dataclass(eq=False)
class InferenceServicer(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """The gRPC methods of ``open_inference.proto``, for the memories of a servicer."""

    servicer: Servicer
    states: Health

    async def ServerLive(
        self, request: inference.ServerLiveRequest, context: Any
    ) -> inference.ServerLiveResponse:
        return inference.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: inference.ServerReadyRequest, context: Any
    ) -> inference.ServerReadyResponse:
        return inference.ServerReadyResponse(ready=self.states.state("") == SERVING)

    async def ModelReady(
        self, request: inference.ModelReadyRequest, context: Any
    ) -> inference.ModelReadyResponse:
        try:
            await self._check_version(request.name, request.version)
        except (MemoryRefusal, OtherVersion):
            return inference.ModelReadyResponse(ready=False)
        return inference.ModelReadyResponse(ready=True)

    async def ServerMetadata(
        self, request: inference.ServerMetadataRequest, context: Any
    ) -> inference.ServerMetadataResponse:
        return inference.ServerMetadataResponse(name=PLATFORM, version=visual_memory.__version__)

    async def ModelMetadata(
        self, request: inference.ModelMetadataRequest, context: Any
    ) -> inference.ModelMetadataResponse:
        await self._check_version(request.name, request.version)
        return from_memory(
            await self.servicer.GetMemory(pb.GetMemoryRequest(name=request.name), context)
        )

    async def ModelInfer(
        self, request: inference.ModelInferRequest, context: Any
    ) -> inference.ModelInferResponse:
        asked = to_classify(request)
        account = caller.get().account
        if account.limits_rate(PIXELS):  # which only Images say to the interceptor
            account.use_without_debt(PIXELS, await in_thread(pixels, asked))
        await self._check_version(request.model_name, request.model_version)
        classified, digest = await self.servicer.classified(asked, context)
        if request.model_version not in ("", digest):  # it has changed meanwhile
            now = await self.servicer.digest(request.model_name)
            raise OtherVersion(request.model_name, request.model_version, now)
        return await in_thread(from_classified, classified, request, digest)

    async def _check_version(self, memory: str, version: str) -> None:
        """Raise UnknownMemory, and OtherVersion if a version is asked for that it has not now."""
        digest = await self.servicer.digest(memory)
        if version not in ("", digest):
            raise OtherVersion(memory, version, digest)
