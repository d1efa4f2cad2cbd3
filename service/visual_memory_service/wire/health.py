"""Health: serving states of the server and each memory, and the standard health service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from visual_memory.errors import cut

NAME_CHARACTERS = 1000  # more than any service's
State = health_pb2.HealthCheckResponse


class Health:
    """Serving states by service name; all become NOT_SERVING once the server drains."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}
        self._draining = False
        self._changed = asyncio.Condition()

    async def set(self, name: str, state: Any) -> None:
        """Set the serving state of the service ``name``, and wake its watchers."""
        async with self._changed:
            self._states[name] = state
            self._changed.notify_all()

    async def drain(self) -> None:
        """Set all to NOT_SERVING, which ends every watch."""
        self._draining = True
        await self.wake()

    async def wake(self) -> None:
        """Wake all Watch streams, so that they re-check whether their connection is closing."""
        async with self._changed:
            self._changed.notify_all()

    def knows(self, name: str) -> bool:
        """Return True if a serving state was ever set for the service ``name``."""
        return name in self._states

    def state(self, name: str) -> Any:
        """Return the current serving state of ``name``."""
        if self._draining:
            return State.NOT_SERVING
        return self._states.get(name, State.SERVICE_UNKNOWN)

    async def states(self, name: str, connections_closing: asyncio.Event) -> AsyncIterator[Any]:
        """Yield ``name``'s serving state now and at each change, until a drain or the event."""
        sent = None
        while True:
            async with self._changed:
                while (
                    not (self._draining or connections_closing.is_set())
                    and self.state(name) == sent
                ):
                    await self._changed.wait()
                state = self.state(name)
            if state == sent:
                return
            sent = state
            yield state


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it is untyped
    """Health service of one gRPC server; its watches end with ``connections_closing``.

    With the asyncio service of grpc_health, watches would end only in the last second of a drain.
    """

    def __init__(self, health: Health, connections_closing: asyncio.Event) -> None:
        self._health, self._connections_closing = health, connections_closing

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        if not self._health.knows(request.service):
            sentence = cut(f'Nothing is named "{request.service}".')
            await context.abort(grpc.StatusCode.NOT_FOUND, sentence)
        return State(status=self._health.state(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[Any]:
        name = request.service[:NAME_CHARACTERS]
        del request  # which may be large, and the stream long
        async for state in self._health.states(name, self._connections_closing):
            yield State(status=state)
