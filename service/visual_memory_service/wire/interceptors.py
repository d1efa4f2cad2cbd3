"""Interceptor of every call: it finds the caller, answers refusals and logs the end."""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from typing import Any, Self

import grpc
import structlog
from grpc_status import rpc_status

from visual_memory_index.errors import FileRefusal
from visual_memory_service import errors
from visual_memory_service.access.callers import Caller, Callers, caller
from visual_memory_service.convert.answers import is_from_working
from visual_memory_service.runtime.measures import (
    CALL_SECONDS,
    CALLS_REFUSED,
    CALLS_STARTED,
)
from visual_memory_service.runtime.timeline import Ended, Timeline, Watch, timeline
from visual_memory_service.status import REFUSALS, answer, code_name, foreseen
from visual_memory_service.wire.admission import AdmissionControl
from visual_memory_service.wire.connections import Connections
from visual_memory_service.wire.messages import Messages
from visual_memory_service.wire.methods import Method

CANCELLED = (asyncio.CancelledError, GeneratorExit)  # the latter while an answer is sent
STRANGERS = (errors.NoKey, errors.WrongKey, errors.RevokedKey, errors.ExpiredKey)
UNWATCHED = Watch()
log = structlog.get_logger()
at_end: ContextVar[ExitStack] = ContextVar("at_end")  # what the call under way does at its end

Begin = Callable[[Any], "CallScope"]


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
        if handler.response_streaming:
            make, around = grpc.stream_stream_rpc_method_handler, with_answers
        else:
            make, around = grpc.stream_unary_rpc_method_handler, with_one_answer
        behaviour = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        return make(
            around(begin, behaviour, self._connections),
            response_serializer=handler.response_serializer,
        )


def with_one_answer(begin: Begin, behaviour: Any, connections: Connections) -> Any:
    """Return a gRPC method that answers once, and runs ``behaviour`` in a call scope.

    ``begin`` makes the scope; the call counts in ``connections``.
    """

    async def answered(_: AsyncIterator[bytes], context: Any) -> Any:
        with connections.call():
            async with begin(context) as call:
                return await behaviour(await call.read(), context)

    return answered


def with_answers(begin: Begin, behaviour: Any, connections: Connections) -> Any:
    """Return a gRPC method that answers with a stream, and runs ``behaviour`` in a call scope.

    ``begin`` makes the scope; the call counts in ``connections``.
    """

    async def answered(_: AsyncIterator[bytes], context: Any) -> Any:
        with connections.call():
            async with begin(context) as call:
                async for response in behaviour(await call.read(), context):
                    with call.messages.answering(acknowledges=not is_from_working(response)):
                        yield response

    return answered


def clear_frames(error: BaseException | None) -> None:
    """Clear an error's frames, which would keep messages in RAM until a garbage collection."""
    unread = isinstance(error, (*REFUSALS, *CANCELLED))  # nobody reads their tracebacks
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        if unread:
            error.__traceback__ = None
        error = error.__context__


class CallScope:
    """Scope of one call of any kind, from before its first message is received until its end.

    Refusals raised in ``read`` or later are answered and logged; a refusal raised in ``__aenter__``
    would not be.
    """

    def __init__(
        self,
        method: Method,
        context: Any,
        admission: AdmissionControl,
        connections: Connections,
        watch: Watch,
        log: Any,
    ) -> None:
        self._method, self._log = method, log
        self._slow_seconds = math.inf if method.may_take_long else watch.slow_seconds
        self._trace = watch.trace if method.is_ours else None
        watched = self._trace is not None or self._slow_seconds < math.inf
        self._timeline = Timeline() if watched else None
        self._context, self._connections = context, connections
        self._caller: Caller | None = None
        self._begun = False  # in the account of the caller
        self._paced = False
        self.messages = Messages(method, context, admission, connections)
        self._at_end = ExitStack()

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        CALLS_STARTED.add(1, self._method.full_name)
        timeline.set(self._timeline)
        at_end.set(self._at_end)
        return self

    async def read(self) -> Any:
        """Return the message of the call, or an iterator of its messages.

        None is received of a caller who may not make the call.
        """
        try:
            self._caller = self._method.caller(self._context)
            if self._caller is not None:
                self._caller.account.begin(stream=self._method.is_stream)
        except (errors.LimitReached, *STRANGERS):
            await self._pace()
            raise
        if self._caller is not None:
            self._begun = True
            self._method.check_scope(self._caller.key)
            caller.set(self._caller)
        return await self.messages.read(self._caller)

    async def _pace(self) -> None:
        """Wait, so that whoever is refused all the time costs others little."""
        if self._caller is not None:
            seconds = self._caller.account.refusals.seconds()
        else:
            assert self._method.callers is not None
            seconds = self._method.callers.strangers.seconds()
        if seconds:
            self._paced, self._slow_seconds = True, math.inf
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._connections.closing.wait()

    def _status(self, error: BaseException | None) -> str:
        """Return the name of the gRPC code that the call ends with."""
        if isinstance(error, grpc.aio.AbortError):
            return str(getattr(self._context.code(), "name", self._context.code()))
        left = self._context.time_remaining()
        return code_name(error, late=left is not None and left <= 0)

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        del trace  # gRPC keeps an abort's traceback, which would refer to it
        clear_frames(error)
        self._at_end.close()
        if self._begun and self._caller is not None:
            self._caller.account.end(stream=self._method.is_stream)
        await self.messages.close()
        if self.messages.ended is not None and isinstance(error, CANCELLED):
            error = self.messages.ended
        seconds = time.monotonic() - self._began
        if self._paced and isinstance(error, CANCELLED):  # thousands may be, at once
            CALL_SECONDS.add(seconds, self._method.full_name, self._status(error))
            return
        call: dict[str, Any] = {
            "method": self._method.name,
            "milliseconds": round(1000 * seconds, 1),
        }
        if self._caller is not None:
            call["principal"] = self._caller.key.name
        status = self._status(error)
        CALL_SECONDS.add(seconds, self._method.full_name, status)
        if self._timeline is not None and seconds >= self._slow_seconds:
            self._log.warning("slow", **call, parts=self._timeline.milliseconds())
        if self._timeline is not None and self._trace is not None and self._caller is not None:
            name, metadata = self._method.full_name, self._context.invocation_metadata() or ()
            who, ended = call["principal"], self._began + seconds
            self._trace(Ended(name, self._began, ended, status, who, self._timeline, metadata))
        if error is None:
            self._log.debug("answered", **call)
        elif isinstance(error, REFUSALS):
            CALLS_REFUSED.add(1, type(error).__name__)
            where = {"path": str(error.path)} if isinstance(error, FileRefusal) else {}
            self._log.info("refused", reason=type(error).__name__, **call, **where)
            await self._context.abort_with_status(rpc_status.to_status(answer(error)))
        elif isinstance(error, grpc.aio.AbortError):
            self._log.info("refused", **call)
        elif isinstance(error, CANCELLED):
            self._log.info("cancelled", **call)
        elif isinstance(error, Exception):
            self._log.error("failed", exc_info=error, **call)
            await self._context.abort_with_status(rpc_status.to_status(answer(foreseen(error))))
