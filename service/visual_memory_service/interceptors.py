"""What happens around every call: its size is checked, its refusal answered, its end logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from visual_memory_service.errors import BadField, Overloaded, TooLarge
from visual_memory_service.status import REFUSALS, answer

OURS = "/visual_memory.v1."
log = structlog.get_logger()

Parse = Callable[[bytes], Any]
Hold = Callable[[int], None]


class Guard(grpc.aio.ServerInterceptor):
    """Reads messages itself, so that one that is too large gets a sentence of ours.

    Those that are worked on, of a stream the latest, may have ``pending_bytes_max`` together; one
    alone may be larger.
    """

    def __init__(self, message_bytes_max: int, pending_bytes_max: int) -> None:
        self._message_bytes_max, self._pending_bytes_max = message_bytes_max, pending_bytes_max
        self._pending_bytes = 0

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        handler = await continuation(details)
        if handler is None or not details.method.startswith(OURS):
            return handler
        method, parse = details.method.rsplit("/", 1)[1], handler.request_deserializer
        if handler.request_streaming and not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._guard_requests(method, parse, handler.stream_unary),
                response_serializer=handler.response_serializer,
            )
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._guard_stream(method, parse, handler.stream_stream),
                response_serializer=handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._guard_answers(method, parse, handler.unary_stream),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._guard_unary(method, parse, handler.unary_unary),
            response_serializer=handler.response_serializer,
        )

    def _guard_unary(self, method: str, parse: Parse, behaviour: Any) -> Any:
        async def call(data: bytes, context: Any) -> Any:
            async with Ended(method, context):
                with self._pending() as hold:
                    return await behaviour(self._read(parse, data, hold), context)

        return call

    def _guard_requests(self, method: str, parse: Parse, behaviour: Any) -> Any:
        async def call(messages: AsyncIterator[bytes], context: Any) -> Any:
            async with Ended(method, context):
                with self._pending() as hold:
                    requests = (self._read(parse, data, hold) async for data in messages)
                    return await behaviour(requests, context)

        return call

    def _guard_answers(self, method: str, parse: Parse, behaviour: Any) -> Any:
        async def call(data: bytes, context: Any) -> Any:
            async with Ended(method, context):
                with self._pending() as hold:
                    async for response in behaviour(self._read(parse, data, hold), context):
                        yield response

        return call

    def _guard_stream(self, method: str, parse: Parse, behaviour: Any) -> Any:
        async def call(messages: AsyncIterator[bytes], context: Any) -> Any:
            async with Ended(method, context):
                with self._pending() as hold:
                    requests = (self._read(parse, data, hold) async for data in messages)
                    async for response in behaviour(requests, context):
                        yield response

        return call

    @contextmanager
    def _pending(self) -> Iterator[Hold]:
        """Counts the messages of one call, each in the place of the one before.

        ``Hold`` raises Overloaded.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            others = self._pending_bytes - held
            if others and others + size > self._pending_bytes_max:
                raise Overloaded(self._pending_bytes_max)
            self._pending_bytes, held = others + size, size

        try:
            yield hold
        finally:
            self._pending_bytes -= held

    def _read(self, parse: Parse, data: bytes, hold: Hold) -> Any:
        hold(len(data))
        if len(data) > self._message_bytes_max:
            raise TooLarge(len(data), self._message_bytes_max)
        try:
            return parse(data)
        except DecodeError:
            raise BadField("The message", "is not one of this call's protobuf type") from None


class Ended:
    """Answers what a call raised, and logs how it ended."""

    def __init__(self, method: str, context: Any) -> None:
        self._method, self._context = method, context

    async def __aenter__(self) -> None:
        self._began = time.perf_counter()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        milliseconds = round((time.perf_counter() - self._began) * 1000, 1)
        event = log.bind(method=self._method, milliseconds=milliseconds)
        if error is None:
            event.debug("answered")
        elif isinstance(error, REFUSALS):
            event.info("refused", reason=type(error).__name__)
            await self._context.abort_with_status(rpc_status.to_status(answer(error)))
        elif isinstance(error, asyncio.CancelledError):
            event.info("cancelled")
        elif isinstance(error, Exception) and not isinstance(error, grpc.RpcError):
            event.error("failed", exc_info=error)
            await self._context.abort(
                grpc.StatusCode.INTERNAL, "The service failed on its own side; its log says why."
            )
