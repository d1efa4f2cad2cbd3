"""The scope of a call: it finds the caller, answers refusals and logs the end."""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from typing import Any, Self

import grpc
from grpc_status import rpc_status

from visual_memory_index.errors import FileRefusal
from visual_memory_service.access.callers import Caller, caller
from visual_memory_service.errors import ConnectionEnding
from visual_memory_service.runtime.measures import CALL_SECONDS, CALLS_REFUSED, CALLS_STARTED
from visual_memory_service.runtime.timeline import Ended, Timeline, Watch, timeline
from visual_memory_service.status import REFUSALS, answer, code_name, foreseen
from visual_memory_service.wire.admission import AdmissionControl
from visual_memory_service.wire.connections import Connections
from visual_memory_service.wire.messages import Messages
from visual_memory_service.wire.methods import Method, is_own

CANCELLED = (asyncio.CancelledError, GeneratorExit)  # the latter while an answer is sent
PAUSE = "pause-seconds"  # of metadata, by which HTTP is told to wait with a refusal
at_end: ContextVar[ExitStack] = ContextVar("at_end")  # what the call under way does at its end


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
        self._counted = False  # in the account of the caller
        self._refused = ""  # the reason
        self._waits, self._pause = False, 0.0  # a caller who is refused, so many seconds
        self.messages = Messages(method, context, admission, connections)
        self._at_end = ExitStack()

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        CALLS_STARTED.add(1, self._method.full_name)
        timeline.set(self._timeline)
        at_end.set(self._at_end)
        self._connections.begin_call()
        self._at_end.callback(self.messages.close)
        return self

    async def read(self) -> Any:
        """Return the message of the call, or an iterator of its messages.

        None is received of a caller who may not make the call.
        """
        try:
            self._caller = self._method.caller(self._context)
            if self._caller is not None:
                self._count(self._caller)
                self._method.check_scope(self._caller.key)
                caller.set(self._caller)
            return await self.messages.read(self._caller)
        except REFUSALS as refusal:
            if not (self._counted or self._method.is_open):  # which hold what has come
                clear_frames(refusal)  # which may hold a message
                self._refused = type(refusal).__name__
                await self._wait()
            raise

    def _count(self, caller: Caller) -> None:
        """Count the call in the account of its caller, until its end. Raises LimitReached."""
        stream = self._method.is_stream
        caller.account.begin(stream=stream)
        self._at_end.callback(caller.account.end, stream=stream)
        self._counted = True

    async def _wait(self) -> None:
        """Wait, so that whoever is refused all the time costs others little.

        Who asks by HTTP does so there, and keeps no call waiting here.
        """
        if self._caller is not None:
            seconds = self._caller.account.refusals.seconds()
        elif self._method.callers is not None:
            seconds = self._method.callers.strangers.seconds()
        else:
            return
        if is_own(self._context):
            self._pause = seconds
        elif seconds:
            self._waits, self._slow_seconds = True, math.inf
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._connections.closing.wait()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        del trace  # gRPC keeps an abort's traceback, which would refer to it
        try:
            clear_frames(error)
            try:
                self._at_end.close()
            except Exception as failure:  # all else that it had to do is done
                error = failure
            if self.messages.refusal is not None and isinstance(error, CANCELLED):
                error = self.messages.refusal
            await self._tell(error)
        finally:
            self._connections.end_call()

    async def _tell(self, error: BaseException | None) -> None:
        """Count, log and trace how the call ended, and answer its client if it failed."""
        seconds, status = time.monotonic() - self._began, self._status(error)
        CALL_SECONDS.add(seconds, self._method.full_name, status)
        if self._waits and isinstance(error, CANCELLED):  # thousands may be, at once
            CALLS_REFUSED.add(1, self._refused)
            return
        call: dict[str, Any] = {
            "method": self._method.name,
            "milliseconds": round(1000 * seconds, 1),
        }
        if self._caller is not None:
            call["principal"] = self._caller.key.name
        if self._timeline is not None and seconds >= self._slow_seconds:
            self._log.warning("slow", **call, parts=self._timeline.milliseconds())
        if self._timeline is not None and self._trace is not None and self._caller is not None:
            name, metadata = self._method.full_name, self._context.invocation_metadata() or ()
            who, ended = call["principal"], self._began + seconds
            self._trace(Ended(name, self._began, ended, status, who, self._timeline, metadata))
        usual = self._method.is_open or isinstance(error, ConnectionEnding)  # anybody may ask
        tell = self._log.debug if usual else self._log.info
        if error is None:
            self._log.debug("answered", **call)
        elif isinstance(error, REFUSALS):
            CALLS_REFUSED.add(1, type(error).__name__)
            where = {"path": str(error.path)} if isinstance(error, FileRefusal) else {}
            tell("refused", reason=type(error).__name__, **call, **where)
            await self._answer(error)
        elif isinstance(error, grpc.aio.AbortError):
            tell("refused", **call)
        elif isinstance(error, CANCELLED):
            tell("cancelled", **call)
        elif isinstance(error, Exception):
            self._log.error("failed", exc_info=error, **call)
            await self._answer(foreseen(error))

    def _status(self, error: BaseException | None) -> str:
        """Return the name of the gRPC code that the call ends with."""
        if isinstance(error, grpc.aio.AbortError):
            return str(getattr(self._context.code(), "name", self._context.code()))
        left = self._context.time_remaining()
        return code_name(error, late=left is not None and left <= 0)

    async def _answer(self, error: Exception) -> None:
        status = rpc_status.to_status(answer(error))
        pause = ((PAUSE, f"{self._pause:.3f}"),) if self._pause else ()
        metadata = (*(status.trailing_metadata or ()), *pause)
        await self._context.abort(status.code, status.details, metadata)
