"""The asyncio transport: calls with retries, streams and file transfers on one connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

import grpc

from visual_memory._messages.call import Call, LongRunning, WithDryRun
from visual_memory._transport.blocking import MESSAGES_AT_ONCE
from visual_memory._transport.blocking import Transport as Blocking
from visual_memory._transport.connection import Endpoint
from visual_memory._transport.imports import Import, Progress, incomplete_import
from visual_memory._transport.retry import RetryBudget
from visual_memory.errors import refuse_closed
from visual_memory.types import Operation, UnlearnResult
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

SMALL_BYTES = 65_536  # of vectors, checked and packed in less time than a thread needs to begin
P = ParamSpec("P")
T = TypeVar("T")
Awaited: TypeAlias = Coroutine[Any, Any, T]


def long_running(
    method: Callable[Concatenate[Any, P], Awaited[T | Operation]],
) -> LongRunning[P, Awaited[T], Awaited[Operation]]:
    """Declare to type checkers that a method returns the operation only with ``wait=False``."""
    return cast("LongRunning[P, Awaited[T], Awaited[Operation]]", method)


def with_dry_run(
    method: Callable[Concatenate[Any, P], Awaited[T | Operation | UnlearnResult]],
) -> WithDryRun[P, Awaited[T], Awaited[Operation], Awaited[UnlearnResult]]:
    """Declare to type checkers what a method returns with ``wait=False`` or ``dry_run=True``."""
    return cast("WithDryRun[P, Awaited[T], Awaited[Operation], Awaited[UnlearnResult]]", method)


async def prepared(
    vectors: object, prepare: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return the result of ``prepare``, made in a thread unless ``vectors`` are a small array."""
    if getattr(vectors, "nbytes", SMALL_BYTES + 1) <= SMALL_BYTES:
        return prepare(*args, **kwargs)
    return await asyncio.to_thread(prepare, *args, **kwargs)


class Transport:
    """An open connection, with the methods of ``blocking.Transport`` as coroutines."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._channel = endpoint.channel(grpc.aio)
        self._stub = VisualMemoryStub(self._channel)
        self._transfers: set[Blocking] = set()
        self._streams: set[Any] = set()
        self._closed = False

    async def close(self) -> None:
        """Close the connection and cancel calls under way."""
        self._closed = True
        for blocking in self._transfers:
            blocking.close()
        for stream in list(self._streams):  # old releases of gRPC go on waiting for their answers
            stream.cancel()
        await self._channel.close()

    @contextmanager
    def _streaming(self, stream: Any) -> Iterator[None]:
        """Context manager: cancel the stream when the block ends or the transport is closed."""
        self._streams.add(stream)
        try:
            yield
        finally:
            self._streams.discard(stream)
            stream.cancel()

    def opened(self) -> Any:
        """Return the stub of the service. Raises FailedPrecondition if the transport is closed."""
        if self._closed:
            refuse_closed()
        return self._stub

    async def do(self, call: Call[T]) -> T:
        """Make a call of one message, with retries, and return its answer."""
        budget = self.endpoint.budget(call)

        async def attempt() -> T:
            method = getattr(self.opened(), call.method)
            sent = call.sent()
            metadata = self.endpoint.call_metadata(sent)
            return call.read(await method(sent, timeout=budget.remaining(), metadata=metadata))

        with budget.annotate_interrupts():
            return await self._retry(attempt, budget)

    async def _retry(self, attempt: Callable[[], Awaitable[T]], budget: RetryBudget) -> T:
        """Repeat an attempt until it succeeds; return its result.

        Raises Error if the failure cannot be retried or ``budget`` has no time left, and
        FailedPrecondition (CLIENT_CLOSED) if the transport is closed.
        """
        while True:
            try:
                return await attempt()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or not task.cancelling():  # but by gRPC, whose channel was closed
                    self.opened()
                raise
            except TimeoutError:
                self.opened()
                budget.raise_timeout()
            except grpc.RpcError as error:
                self.opened()
                next_delay = budget.next_delay(error)
            await asyncio.sleep(next_delay)

    async def ask(self, calls: Iterator[Call[list[T]]], *, alone: bool) -> list[T]:
        """Make calls, two in flight at a time, and return their answers as one list, in order.

        A call that is ``alone`` is made ready without a thread.
        """
        if alone:
            return await self.do(next(calls))
        answers: list[T] = []
        in_flight: deque[asyncio.Task[list[T]]] = deque()
        try:
            while (call := await asyncio.to_thread(next, calls, None)) is not None:
                in_flight.append(asyncio.create_task(self.do(call)))
                if len(in_flight) == MESSAGES_AT_ONCE:
                    answers += await in_flight.popleft()
            while in_flight:
                answers += await in_flight.popleft()
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)
        return answers

    async def find(self, call: Call[list[T]], progress: Progress | None) -> list[T]:
        """Return what a stream of progress and findings brings; it is restarted if it breaks.

        ``progress``, if not None, is called with how much is done, of how much.
        """
        budget = self.endpoint.budget()

        async def attempt() -> list[T]:
            found: list[T] = []
            method = getattr(self.opened(), call.method)
            stream = method(call.request, metadata=self.endpoint.metadata)
            with self._streaming(stream):
                while (answer := await self._read(stream, budget)) is not None:
                    budget.renew(0)
                    if progress is not None and answer.total_count:
                        progress(answer.done_count, answer.total_count)
                    found += call.read(answer)
            return found

        return await self._retry(attempt, budget)

    async def transfer(
        self, run: Callable[[Blocking, Progress], T], progress: Progress | None
    ) -> T:
        """Run a blocking file transfer in a thread, over a connection of its own.

        ``run`` gets the connection and a function that has ``progress``, if not None, called in the
        event loop. Returns the result of ``run``. grpc.aio is not used: it loses the status of a
        call refused during a pending write.
        """
        loop = asyncio.get_running_loop()

        def report_progress(done: int, total: int) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total)

        self.opened()
        with closing(Blocking(self.endpoint)) as blocking:  # closed, it ends what goes on in it
            self._transfers.add(blocking)
            try:
                return await asyncio.to_thread(run, blocking, report_progress)
            finally:
                self._transfers.discard(blocking)

    async def import_entries(self, importing: Import) -> None:
        """Run an import until all entries are stored, on a new stream after each that breaks."""

        async def attempt() -> None:
            try:
                await self._stream(importing)
            except (TimeoutError, grpc.RpcError):
                if not importing.finished:
                    raise

        await self._retry(attempt, importing.budget)

    async def _stream(self, importing: Import) -> None:
        """Send each batch once the batch before is stored; meanwhile read the next batch's files.

        No write may be pending when a call is refused: grpc.aio would lose the status.
        """
        ready: pb.ImportEntriesRequest | None = None
        stream = self.opened().ImportEntries(metadata=self.endpoint.metadata)
        with self._streaming(stream):
            await self._write(stream, importing.start_stream(), importing)
            while (answer := await self._read(stream, importing.budget)) is not None:
                importing.acknowledge(answer)
                if importing.finished:
                    await stream.done_writing()
                elif importing.resumed and not answer.working:
                    ready = ready or await asyncio.to_thread(importing.next)
                    await self._write(stream, ready, importing)
                    ready = await asyncio.to_thread(importing.next)
        if not importing.finished:
            raise incomplete_import()

    async def _write(
        self, stream: Any, request: pb.ImportEntriesRequest | None, importing: Import
    ) -> None:
        async with asyncio.timeout(importing.budget.remaining()):
            with suppress(asyncio.InvalidStateError):  # it has ended; reading says why
                await stream.write(request)

    async def _read(self, stream: Any, budget: RetryBudget) -> Any:
        """Return the stream's next answer, or None after the last.

        Raises TimeoutError if ``budget`` has no time left.
        """
        async with asyncio.timeout(budget.remaining()):
            answer = await stream.read()
        return None if answer is grpc.aio.EOF else answer
