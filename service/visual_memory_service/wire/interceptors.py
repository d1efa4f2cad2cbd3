"""What happens around every call: its messages are read, its refusal answered, its end logged."""

from __future__ import annotations

import asyncio
import re
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from visual_memory.protocol.address import MESSAGE_BYTES
from visual_memory_index import FileRefusal
from visual_memory_service.convert.answers import is_from_working
from visual_memory_service.erasure.process_memory import give_back
from visual_memory_service.errors import (
    BadField,
    ClientSilent,
    ConnectionsRenewed,
    OutOfMemory,
    RequestRefusal,
)
from visual_memory_service.status import REFUSALS, answer, foreseen
from visual_memory_service.wire.admission import (
    BYTES_PER_SECOND_MIN,
    PRESSED_SECONDS,
    UNANNOUNCED_SECONDS,
    Intake,
)
from visual_memory_service.wire.waiting import Waiting

NO_MEMORY = "Arena alloc failed"  # how protobuf says it
OURS = "/visual_memory.v1."
CANCELLED = (asyncio.CancelledError, GeneratorExit)  # the latter where an answer is on its way
NUMBER = re.compile(r"[0-9]{1,18}")
LARGE_BYTES = 64 << 20  # held by a call: what it frees would lie about in pieces
log = structlog.get_logger()

Begin = Callable[[Any], "Call"]


class Guard(grpc.aio.ServerInterceptor):
    """Has every call of every service, health and reflection too, pass through a ``Call``."""

    def __init__(self, intake: Intake, leaving: asyncio.Event, waiting: Waiting) -> None:
        self._intake, self._leaving, self._waiting = intake, leaving, waiting

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None

        def begin(context: Any) -> Call:
            return Call(details, context, handler, self._intake, self._leaving, self._waiting)

        # To gRPC all requests are streams, so that a call decides when its message is received.
        if handler.response_streaming:
            make, around = grpc.stream_stream_rpc_method_handler, answers_of
        else:
            make, around = grpc.stream_unary_rpc_method_handler, answer_of
        behaviour = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        return make(
            around(begin, behaviour, self._waiting), response_serializer=handler.response_serializer
        )


def answer_of(begin: Begin, behaviour: Any, waiting: Waiting) -> Any:
    """A call with one answer."""

    async def answered(_: AsyncIterator[bytes], context: Any) -> Any:
        with waiting.call():
            async with begin(context) as call:
                return await behaviour(await call.read(), context)

    return answered


def answers_of(begin: Begin, behaviour: Any, waiting: Waiting) -> Any:
    """A call with a stream of answers."""

    async def answered(_: AsyncIterator[bytes], context: Any) -> Any:
        with waiting.call():
            async with begin(context) as call:
                async for response in behaviour(await call.read(), context):
                    with call.answering(settles=not is_from_working(response)):
                        yield response

    return answered


async def received(context: Any) -> bytes | None:
    """The next message of a call, None after the last.

    gRPC's iterator of them would keep each until the next has come.
    """
    data = await context.read()
    return None if data is grpc.aio.EOF else data


async def only(context: Any) -> bytes:
    """The one message of a call. Raises CancelledError where it was cancelled before."""
    data = await received(context)
    if data is None:
        raise asyncio.CancelledError
    return data


def announced(metadata: Iterable[tuple[str, str | bytes]]) -> int | None:
    """How many bytes the message of a call will have, where its client says so. Raises BadField."""
    for name, value in metadata:
        if name == MESSAGE_BYTES:
            if not (isinstance(value, str) and NUMBER.fullmatch(value)):
                raise BadField(MESSAGE_BYTES, "in the metadata must be a number of bytes")
            return int(value)
    return None


def let_go(error: BaseException | None) -> None:
    """Free what the frames hold that an error came through, or messages stay until a collection."""
    unread = isinstance(error, (*REFUSALS, *CANCELLED))  # tracebacks, with functions in them
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        if unread:
            error.__traceback__ = None
        error = error.__context__


async def until(event: asyncio.Event, context: Any) -> AsyncIterator[bytes]:
    """The messages up to the event: nobody's conversation is to hold up that a server ends."""
    ended = asyncio.create_task(event.wait())
    following: asyncio.Future[bytes | None] | None = None
    try:
        while not ended.done():
            following = asyncio.ensure_future(received(context))
            await asyncio.wait([following, ended], return_when=asyncio.FIRST_COMPLETED)
            if not following.done() or (data := following.result()) is None:
                return
            yield data
    finally:
        ended.cancel()
        if following is not None:
            following.cancel()


class Call:
    """One call of any kind, from before its first message is read until it has ended.

    It reads messages itself, so that one is received when there is room for it, and one of ours
    that is too large gets a sentence of ours. What is refused in ``read`` or later is answered and
    logged; ``__aenter__`` is too early for that.
    """

    def __init__(
        self,
        details: Any,
        context: Any,
        handler: Any,
        intake: Intake,
        leaving: asyncio.Event,
        waiting: Waiting,
    ) -> None:
        self._method, self._metadata = details.method, details.invocation_metadata
        self._context, self._handler = context, handler
        self._leaving, self._waiting = leaving, waiting
        self._intake, self.held = intake, 0
        self.unannounced, self.patience = False, PRESSED_SECONDS
        self._ours = self._method.startswith(OURS)  # health is told under any load
        self._admitted = False
        self._ended: RequestRefusal | None = None
        self._reading, self._answering, self._unanswered = False, False, 0

    async def __aenter__(self) -> Self:
        self._began = time.perf_counter()
        self._task = asyncio.current_task()
        return self

    async def read(self) -> Any:
        """Its message, or its messages as they come."""
        if self._handler.request_streaming:
            if self._ours:
                await self._admit()
            return self._messages()
        if self._ours:
            return self._taken(await self._only())
        return self._parsed(await only(self._context))

    async def _admit(self) -> None:
        await self._intake.admit()
        self._admitted = True

    async def _only(self) -> bytes:
        """Receive the one message that there is, with room for it."""
        size = announced(self._metadata)
        if size is None:
            async with self._intake.unannounced():  # first: while it waits it keeps no place
                await self._admit()
                with self._as(unannounced=True, patience=UNANNOUNCED_SECONDS):
                    return await self._first()
        await self._admit()
        self.held = self._intake.take(self.held, size)
        with self._as(patience=PRESSED_SECONDS + size / BYTES_PER_SECOND_MIN):
            data = await self._first()
        if len(data) > size:
            raise BadField(
                MESSAGE_BYTES, f"in the metadata is {size}, but the message has {len(data)} bytes"
            )
        return data

    @contextmanager
    def _as(self, *, patience: float, unannounced: bool = False) -> Iterator[None]:
        self.patience, self.unannounced = patience, unannounced
        try:
            yield
        finally:
            self.patience, self.unannounced = PRESSED_SECONDS, False

    async def _first(self) -> bytes:
        with self._receiving():
            return await only(self._context)

    async def _messages(self) -> AsyncIterator[Any]:
        if not self._ours:
            async for data in until(self._leaving, self._context):
                yield self._parsed(data)
            return
        while (message := await self._next()) is not None:
            yield message
        if not self._handler.response_streaming:
            await self._check_whole()

    async def _check_whole(self) -> None:
        """Raises CancelledError where a stream ended that its client did not end.

        gRPC ends those that break off as if they were whole, but then nothing can be sent any more.
        """
        try:
            await self._context.send_initial_metadata(())
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None

    async def _next(self) -> Any:
        """The next message of a stream, None after the last."""
        with self._receiving():
            data = await received(self._context)
        return None if data is None else self._taken(data)

    def _taken(self, data: bytes) -> Any:
        self.held = self._intake.take(self.held, len(data))
        return self._parsed(data)

    def _parsed(self, data: bytes) -> Any:
        try:
            return self._handler.request_deserializer(data)
        except DecodeError as problem:
            if NO_MEMORY in str(problem):
                raise OutOfMemory from None
            raise BadField("The message", "is not one of this call's protobuf type") from None

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        self._reading = True
        self._note()
        try:
            with self._waiting.to_read(self._renew):
                yield
        finally:
            self._reading = False
            self._unanswered += 1
            self._note()

    @contextmanager
    def answering(self, *, settles: bool) -> Iterator[None]:
        """While an answer is on its way, which ``settles`` what a message asked or does not yet.

        Raises ConnectionsRenewed.
        """
        self._answering = True
        self._note()
        try:
            with self._waiting.to_write():
                yield
        finally:
            self._answering = False
            if settles:
                self._unanswered = max(self._unanswered - 1, 0)
            self._note()

    def _note(self) -> None:
        """A client that has no answer yet is not silent, though the next message is waited for."""
        silent = self._answering or (self._reading and not self._owed())
        self._intake.note(self, silent=silent and self._admitted)

    def _owed(self) -> bool:
        return bool(self._handler.response_streaming and self._unanswered)

    def end_silent(self) -> None:
        """End it, since nothing is heard of its client."""
        self._end(ClientSilent())

    def _renew(self) -> None:
        """End it with its connection, unless it works on what came before."""
        if not self._owed():
            self._end(ConnectionsRenewed())

    def _end(self, refusal: RequestRefusal) -> None:
        if self._ended is None and self._task is not None:
            self._ended = refusal
            self._task.cancel()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        del trace  # that of an abort, which gRPC keeps, would lead to it
        let_go(error)
        if self._admitted:
            self._intake.note(self, silent=False)
            try:
                if self.held >= LARGE_BYTES:
                    await asyncio.to_thread(give_back)
            finally:  # it may be cancelled here, too
                self._intake.release(self.held)
        if self._ended is not None and isinstance(error, CANCELLED):
            error = self._ended
        milliseconds = round((time.perf_counter() - self._began) * 1000, 1)
        method = self._method.rpartition("/")[2]
        event = log.bind(method=method, milliseconds=milliseconds)
        if error is None:
            event.debug("answered")
        elif isinstance(error, REFUSALS):
            where = {"path": error.path} if isinstance(error, FileRefusal) else {}
            event.info("refused", reason=type(error).__name__, **where)
            await self._context.abort_with_status(rpc_status.to_status(answer(error)))
        elif isinstance(error, grpc.aio.AbortError):
            event.info("refused")
        elif isinstance(error, CANCELLED):
            event.info("cancelled")
        elif isinstance(error, Exception):
            event.error("failed", exc_info=error)
            await self._context.abort_with_status(rpc_status.to_status(answer(foreseen(error))))
