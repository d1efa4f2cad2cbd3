"""Interceptor of every call: it runs each in a ``CallScope``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Any

import grpc
import structlog

from visual_memory_service.access.callers import Callers
from visual_memory_service.convert.answers import is_from_working
from visual_memory_service.runtime.timeline import Watch
from visual_memory_service.wire.admission import AdmissionControl
from visual_memory_service.wire.calls import CallScope
from visual_memory_service.wire.connections import Connections
from visual_memory_service.wire.methods import Method

UNWATCHED = Watch()
log = structlog.get_logger()

Begin = Callable[[Any], CallScope]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Runs every call of every service, health and reflection too, in a ``CallScope``.

    Without ``callers`` nobody needs a key, and with them nobody for what is ``public``. Calls are
    watched as ``watch`` says.
    """

    def __init__(
        self,
        admission: AdmissionControl,
        connections: Connections,
        callers: Callers | None = None,
        public: Collection[str] = (),
        watch: Watch = UNWATCHED,
    ) -> None:
        self._admission, self._connections = admission, connections
        self._callers, self._public, self._watch = callers, public, watch
        self._guarded: dict[str, Any] = {}
        self._log = log.bind()  # which ``log`` makes anew each time it is used

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        method = details.method
        if method not in self._guarded:
            handler = await continuation(details)
            if handler is None:
                return None
            self._guarded[method] = self._guard(method, handler)
        return self._guarded[method]

    def _guard(self, path: str, handler: Any) -> Any:
        """Return a handler that runs the calls of ``handler`` in scopes."""

        method = Method.of(path, handler, self._callers, self._public)

        def begin(context: Any) -> CallScope:
            return CallScope(
                method, context, self._admission, self._connections, self._watch, self._log
            )

        # To gRPC all requests are streams, so that a call decides when its message is received.
        behaviour = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        serialize = handler.response_serializer
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                with_answers(begin, behaviour), response_serializer=serialize
            )
        return grpc.stream_unary_rpc_method_handler(with_one_answer(begin, behaviour, serialize))


def with_one_answer(begin: Begin, behaviour: Any, serialize: Callable[[Any], bytes]) -> Any:
    """Return a gRPC method that answers once: ``behaviour`` in a call scope, serialized."""

    async def answered(_: AsyncIterator[bytes], context: Any) -> bytes:
        async with begin(context) as call:
            answer = serialize(await behaviour(await call.read(), context))
            call.messages.hold_answer(len(answer))
            return answer

    return answered


def with_answers(begin: Begin, behaviour: Any) -> Any:
    """Return a gRPC method that answers with a stream: ``behaviour`` in a call scope.

    Its own end comes before that of the scope, also where the call breaks off.
    """

    async def answered(_: AsyncIterator[bytes], context: Any) -> Any:
        async with (
            begin(context) as call,
            aclosing(behaviour(await call.read(), context)) as responses,
        ):
            async for response in responses:
                with call.messages.answering(acknowledges=not is_from_working(response)):
                    yield response

    return answered
