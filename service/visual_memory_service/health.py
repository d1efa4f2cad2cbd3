"""The standard health service; its watches end when the server drains, which waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

State = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it is untyped
    """grpc_health's own for asyncio would hold the drain up to its last second."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}
        self._draining = False
        self._changed = asyncio.Condition()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        if request.service not in self._states:
            await context.abort(grpc.StatusCode.NOT_FOUND, f'Nothing is named "{request.service}".')
        return State(status=self._state(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[Any]:
        name, told = request.service, None
        while True:
            async with self._changed:
                while not self._draining and self._state(name) == told:
                    await self._changed.wait()
                if self._state(name) == told:
                    return
                told = self._state(name)
            yield State(status=told)

    async def set(self, name: str, state: Any) -> None:
        """Tell what watches ``name``."""
        async with self._changed:
            self._states[name] = state
            self._changed.notify_all()

    async def drain(self) -> None:
        """Nothing serves any more, and every watch ends with that."""
        async with self._changed:
            self._draining = True
            self._changed.notify_all()

    def _state(self, name: str) -> Any:
        if self._draining:
            return State.NOT_SERVING
        return self._states.get(name, State.SERVICE_UNKNOWN)
