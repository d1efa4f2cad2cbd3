"""Whether the server and each memory serve, and the standard service that tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from visual_memory.errors import cut

State = health_pb2.HealthCheckResponse


class Health:
    """What serves, by the name of a service; nothing does once the server drains."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}
        self._draining = False
        self._changed = asyncio.Condition()

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

    async def wake(self) -> None:
        """Have those that watch look whether they are leaving."""
        async with self._changed:
            self._changed.notify_all()

    def knows(self, name: str) -> bool:
        """Whether anything was ever called so."""
        return name in self._states

    def state(self, name: str) -> Any:
        """How it is with ``name`` now."""
        if self._draining:
            return State.NOT_SERVING
        return self._states.get(name, State.SERVICE_UNKNOWN)

    async def states(self, name: str, leaving: asyncio.Event) -> AsyncIterator[Any]:
        """How it is now and whenever that changes, until the server drains or who asks leaves."""
        told = None
        while True:
            async with self._changed:
                while not (self._draining or leaving.is_set()) and self.state(name) == told:
                    await self._changed.wait()
                state = self.state(name)
            if state == told:
                return
            told = state
            yield state


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it is untyped
    """The health of one gRPC server, which ``leaving`` tells that its connections are to end.

    grpc_health's own for asyncio would hold that up to the last second.
    """

    def __init__(self, health: Health, leaving: asyncio.Event) -> None:
        self._health, self._leaving = health, leaving

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        if not self._health.knows(request.service):
            sentence = cut(f'Nothing is named "{request.service}".')
            await context.abort(grpc.StatusCode.NOT_FOUND, sentence)
        return State(status=self._health.state(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[Any]:
        async for state in self._health.states(request.service, self._leaving):
            yield State(status=state)
