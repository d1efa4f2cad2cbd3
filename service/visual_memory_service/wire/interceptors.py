"""Interceptor of every call: it reads the messages, answers refusals and logs the end."""

from __future__ import annotations

import asyncio
import math
import re
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Self

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from visual_memory.protocol import MESSAGE_BYTES
from visual_memory_index.errors import FileRefusal
from visual_memory_service import errors
from visual_memory_service.access.callers import Caller, Callers, caller
from visual_memory_service.access.limits import BYTES, PIXELS
from visual_memory_service.convert.answers import is_from_working
from visual_memory_service.convert.requests import pixels
from visual_memory_service.runtime.heap import release_free_pages
from visual_memory_service.runtime.measures import (
    CALL_SECONDS,
    CALLS_REFUSED,
    CALLS_STARTED,
    RECEIVED_BYTES,
)
from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.runtime.timeline import Ended, Timeline, Watch, part, timeline
from visual_memory_service.status import REFUSALS, answer, code_name, foreseen
from visual_memory_service.wire.admission import PRESSED_SECONDS, SMALL_BYTES, AdmissionControl
from visual_memory_service.wire.connections import Connections
from visual_memory_service.wire.methods import Method, is_own

NO_MEMORY = "Arena alloc failed"  # how protobuf says it
CANCELLED = (asyncio.CancelledError, GeneratorExit)  # the latter while an answer is sent
NUMBER = re.compile(r"[0-9]{1,18}")
UNANNOUNCED_SECONDS = 15.0  # of silence, while a message of unknown size arrives
BYTES_PER_SECOND_MIN = 1 << 20  # a message that arrives slower counts as silence
LARGE_BYTES = 64 << 20  # held by a call whose freed pages are returned to the system
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
                    with call.answering(acknowledges=not is_from_working(response)):
                        yield response

    return answered


async def receive(context: Any) -> bytes | None:
    """Return the next message of a call, None after the last.

    gRPC's own iterator would keep each message until the next has come.
    """
    data = await context.read()
    return None if data is grpc.aio.EOF else data


def announced_bytes(metadata: Iterable[tuple[str, str | bytes]]) -> int | None:
    """Return the message size that the client announced, or None. Raises BadField."""
    for name, value in metadata:
        if name == MESSAGE_BYTES:
            if not (isinstance(value, str) and NUMBER.fullmatch(value)):
                raise errors.BadField(MESSAGE_BYTES, "in the metadata must be a number of bytes")
            return int(value)
    return None


def clear_frames(error: BaseException | None) -> None:
    """Clear an error's frames, which would keep messages in RAM until a garbage collection."""
    unread = isinstance(error, (*REFUSALS, *CANCELLED))  # nobody reads their tracebacks
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        if unread:
            error.__traceback__ = None
        error = error.__context__


async def messages_until(event: asyncio.Event, context: Any) -> AsyncIterator[bytes]:
    """Yield a call's messages until ``event`` is set, so that no stream delays a server's end."""
    ended = asyncio.create_task(event.wait())
    following: asyncio.Future[bytes | None] | None = None
    try:
        while not ended.done():
            following = asyncio.ensure_future(receive(context))
            await asyncio.wait([following, ended], return_when=asyncio.FIRST_COMPLETED)
            if not following.done() or (data := following.result()) is None:
                return
            yield data
    finally:
        ended.cancel()
        if following is not None:
            following.cancel()


class CallScope:
    """Scope of one call of any kind, from before its first message is received until its end.

    Each message is received once there is room for it; a message that is too large is refused with
    a sentence. Refusals raised in ``read`` or later are answered and logged; a refusal raised in
    ``__aenter__`` would not be.
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
        self._context, self._handler = context, method.handler
        self._caller: Caller | None = None
        self._begun = False  # in the account of the caller
        self._named = False  # once the message that names memories has come
        self._admission, self._connections, self.held = admission, connections, 0
        self.unannounced, self.patience = False, PRESSED_SECONDS
        self.idle_seconds: float | None = None
        self._ours = method.is_ours  # health is told under any load
        self._admitted, self._told_room, self._paced = False, False, False
        self._ended: errors.RequestRefusal | None = None
        self._reading, self._answering, self._unanswered = False, False, 0
        self._at_end = ExitStack()

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        CALLS_STARTED.add(1, self._method.full_name)
        timeline.set(self._timeline)
        self._task = asyncio.current_task()
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
            self.idle_seconds = self._caller.account.idle_seconds
            caller.set(self._caller)
        if self._handler.request_streaming:
            if self._ours:
                await self._admit()
            return self._messages()
        if self._ours:
            return await self._taken(await self._only())
        return self._parsed(await self._first())

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

    async def _admit(self) -> None:
        with part("admit"):
            await self._admission.admit()
        self._admitted = True

    async def _only(self) -> bytes:
        """Receive the one message of the call, with room reserved for it."""
        size = announced_bytes(self._context.invocation_metadata() or ())
        if size is None:
            async with self._admission.unannounced():  # first: a call waiting here takes no place
                await self._admit()
                self.unannounced, self.patience = True, UNANNOUNCED_SECONDS
                try:
                    return await self._first()
                finally:
                    self.unannounced, self.patience = False, PRESSED_SECONDS
        await self._admit()
        self.held = self._admission.swap_reservation(self.held, size)
        if size > SMALL_BYTES and is_own(self._context):
            await self._context.send_initial_metadata(())  # HTTP waits for it with the body
            self._told_room = True
        self.patience += size / BYTES_PER_SECOND_MIN
        data = await self._first()
        if len(data) > size:
            raise errors.BadField(
                MESSAGE_BYTES, f"in the metadata is {size}, but the message has {len(data)} bytes"
            )
        return data

    async def _first(self) -> bytes:
        data = await self._receive()
        if data is None:
            await self._check_whole()
            raise errors.BadField("The message", "must be sent before the call is half-closed")
        return data

    async def _messages(self) -> AsyncIterator[Any]:
        if not self._ours:
            async for data in messages_until(self._connections.closing, self._context):
                yield self._parsed(data)
            return
        while (message := await self._next()) is not None:
            yield message
        if not self._handler.response_streaming:
            await self._check_whole()

    async def _check_whole(self) -> None:
        """Raise CancelledError if the call broke off before its client had sent all messages.

        gRPC ends the messages of such a call as if all had come, but nothing can be sent any more.
        """
        if self._told_room:  # it cannot be sent again; HTTP sends a message, or breaks off
            raise asyncio.CancelledError
        try:
            await self._context.send_initial_metadata(())
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None

    async def _next(self) -> Any:
        """Return the next message of a stream, None after the last.

        It waits while the caller is in debt; what was received before is let go of meanwhile.
        """
        if self._named and self._caller is not None:
            self._method.caller(self._context)  # its key may have been revoked
            with self._connections.to_read(self._renew):
                while await self._caller.account.wait():
                    if not self._owed():
                        self.held = self._admission.swap_reservation(self.held, 0)
        data = await self._receive()
        return None if data is None else await self._taken(data)

    async def _taken(self, data: bytes) -> Any:
        self.held = self._admission.swap_reservation(self.held, len(data))
        RECEIVED_BYTES.add(len(data), self._method.full_name)
        message = self._parsed(data)
        if self._caller is not None and self._caller.account.limits_rate(PIXELS):
            count, account = await in_thread(pixels, message), self._caller.account
            use = account.use if self._method.is_stream else account.use_without_debt
            use(PIXELS, count)
        return message

    def _parsed(self, data: bytes) -> Any:
        try:
            message = self._handler.request_deserializer(data)
        except DecodeError as problem:
            if NO_MEMORY in str(problem):
                raise errors.OutOfMemory from None
            raise errors.BadField(
                "The message", "is not one of this call's protobuf type"
            ) from None
        if self._caller is not None and not self._named:
            self._method.check_memories(message, self._caller.key)
            self._named = True
        return message

    async def _receive(self) -> bytes | None:
        self._reading = True
        self._note()
        try:
            with self._connections.to_read(self._renew), part("receive"):
                data = await receive(self._context)
            if self._caller is not None and data is not None:
                self._caller.account.use(BYTES, len(data))
            return data
        finally:
            self._reading = False
            self._unanswered += 1
            self._note()

    @contextmanager
    def answering(self, *, acknowledges: bool) -> Iterator[None]:
        """Context manager held while a response is sent.

        ``acknowledges`` is False if the response only says that work on a message goes on. Raises
        ConnectionsRenewed if connections have been closing for some seconds.
        """
        self._answering = True
        self._note()
        try:
            with self._connections.to_write():
                yield
        finally:
            self._answering = False
            if acknowledges:
                self._unanswered = max(self._unanswered - 1, 0)
            self._note()

    def _note(self) -> None:
        """Tell admission control if the client is silent; a client that awaits an answer is not."""
        silent = self._answering or (self._reading and not self._owed())
        self._admission.note(self, silent=silent and self._admitted)

    def _owed(self) -> bool:
        return bool(self._handler.response_streaming and self._unanswered)

    def _status(self, error: BaseException | None) -> str:
        """Return the name of the gRPC code that the call ends with."""
        if isinstance(error, grpc.aio.AbortError):
            return str(getattr(self._context.code(), "name", self._context.code()))
        left = self._context.time_remaining()
        return code_name(error, late=left is not None and left <= 0)

    def end_silent(self) -> None:
        """End the call because its client is silent."""
        self._end(errors.ClientSilent())

    def _renew(self) -> None:
        """End the call because its connection is closing, unless the call is handling a message."""
        if not self._owed():
            self._end(errors.ConnectionsRenewed())

    def _end(self, refusal: errors.RequestRefusal) -> None:
        if self._ended is None and self._task is not None:
            self._ended = refusal
            self._task.cancel()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        del trace  # gRPC keeps an abort's traceback, which would refer to it
        clear_frames(error)
        self._at_end.close()
        if self._begun and self._caller is not None:
            self._caller.account.end(stream=self._method.is_stream)
        if self._admitted:
            self._admission.note(self, silent=False)
            try:
                if self.held >= LARGE_BYTES:
                    await asyncio.to_thread(release_free_pages)
            finally:  # it may be cancelled here, too
                self._admission.release(self.held)
        if self._ended is not None and isinstance(error, CANCELLED):
            error = self._ended
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
