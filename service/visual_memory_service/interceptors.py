"""What happens around every call: its messages are read, its refusal answered, its end logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from visual_memory_index import FileRefusal
from visual_memory_service.errors import (
    BadField,
    OutOfMemory,
    Overloaded,
    ServerStopping,
    TooLarge,
)
from visual_memory_service.status import REFUSALS, answer, foreseen

NO_MEMORY = "Arena alloc failed"  # how protobuf says it
OURS = "/visual_memory.v1."
CANCELLED = (asyncio.CancelledError, GeneratorExit)  # the latter where an answer is on its way
log = structlog.get_logger()

Begin = Callable[[Any], "Call"]


class Guard(grpc.aio.ServerInterceptor):
    """Has every call of every service, health and reflection too, pass through a ``Call``."""

    def __init__(self, intake: Intake, leaving: asyncio.Event) -> None:
        self._intake, self._leaving = intake, leaving

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None

        def begin(context: Any) -> Call:
            parse = handler.request_deserializer
            return Call(details.method, context, parse, self._intake, self._leaving)

        requests = "stream" if handler.request_streaming else "unary"
        responses = "stream" if handler.response_streaming else "unary"
        kind = f"{requests}_{responses}"
        around = answers_of if handler.response_streaming else answer_of
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            around(begin, getattr(handler, kind)),
            response_serializer=handler.response_serializer,
        )


def answer_of(begin: Begin, behaviour: Any) -> Any:
    """A call with one answer."""

    async def answered(sent: Any, context: Any) -> Any:
        async with begin(context) as call:
            return await behaviour(call.read(sent), context)

    return answered


def answers_of(begin: Begin, behaviour: Any) -> Any:
    """A call with a stream of answers."""

    async def answered(sent: Any, context: Any) -> Any:
        async with begin(context) as call:
            async for response in behaviour(call.read(sent), context):
                yield response

    return answered


async def until(event: asyncio.Event, items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The items up to the event: nobody else's conversation is to hold up that a server ends."""
    ended = asyncio.create_task(event.wait())
    try:
        while not ended.done():
            following = asyncio.ensure_future(anext(items, None))
            await asyncio.wait([following, ended], return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
            elif (item := following.result()) is not None:
                yield item
                continue
            return
    finally:
        ended.cancel()


class Intake:
    """What is taken on: calls until it drains; of their messages, how much of each and of all.

    Of a stream that is the latest; one alone may be larger than ``pending_bytes_max``.
    """

    def __init__(self, message_bytes_max: int, pending_bytes_max: int) -> None:
        self._message_bytes_max, self._pending_bytes_max = message_bytes_max, pending_bytes_max
        self._pending_bytes = 0
        self._calls, self._draining = 0, False
        self._idle = asyncio.Event()

    def admit(self) -> None:
        """A call begins. Raises ServerStopping."""
        if self._draining:
            raise ServerStopping
        self._calls += 1

    async def drain(self) -> None:
        """Admit no more calls, and come back once those under way are over."""
        self._draining = True
        if self._calls:
            await self._idle.wait()

    def exchange(self, held: int, size: int) -> int:
        """What a call holds once its next message took the place of the last. Raises Overloaded."""
        others = self._pending_bytes - held
        if others and others + size > self._pending_bytes_max:
            raise Overloaded(self._pending_bytes_max)
        self._pending_bytes = others + size
        return size

    def check(self, size: int) -> None:
        """Raises TooLarge."""
        if size > self._message_bytes_max:
            raise TooLarge(size, self._message_bytes_max)

    def release(self, held: int) -> None:
        """A call is over that was admitted."""
        self._pending_bytes -= held
        self._calls -= 1
        if not self._calls and self._draining:
            self._idle.set()


class Call:
    """One call of any kind, from before its first message is read until it has ended.

    It reads messages itself, so that one of ours that is too large gets a sentence of ours. What
    is refused in ``read`` or later is answered and logged; ``__aenter__`` is too early for that.
    """

    def __init__(
        self,
        method: str,
        context: Any,
        parse: Callable[[bytes], Any],
        intake: Intake,
        leaving: asyncio.Event,
    ) -> None:
        self._method, self._context, self._parse = method, context, parse
        self._leaving = leaving
        self._intake, self._held = intake, 0
        self._ours = method.startswith(OURS)  # the health of a server is told under any load
        self._admitted = False

    async def __aenter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    def read(self, sent: bytes | AsyncIterator[bytes]) -> Any:
        """Its message, or its messages as they come."""
        if self._ours:
            self._intake.admit()
            self._admitted = True
        if isinstance(sent, bytes):
            return self._message(sent)
        messages = sent if self._ours else until(self._leaving, sent)
        return (self._message(data) async for data in messages)

    def _message(self, data: bytes) -> Any:
        if self._ours:
            self._intake.check(len(data))
            self._held = self._intake.exchange(self._held, len(data))
        try:
            return self._parse(data)
        except DecodeError as problem:
            if NO_MEMORY in str(problem):
                raise OutOfMemory from None
            raise BadField("The message", "is not one of this call's protobuf type") from None

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._admitted:
            self._intake.release(self._held)
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
