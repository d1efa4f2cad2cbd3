"""What the client for asyncio does on a connection: calls with their retries, streams and files."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc

from visual_memory._messages.call import Call
from visual_memory._transport.blocking import ASKED_AT_ONCE
from visual_memory._transport.blocking import Transport as Blocking
from visual_memory._transport.connection import Endpoint
from visual_memory._transport.imports import Import, Progress, cut_short
from visual_memory._transport.retry import Patience
from visual_memory.errors import Error, refuse_closed
from visual_memory.types import RestoreResult
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

P = ParamSpec("P")
T = TypeVar("T")


def ended_by_close(
    call: Callable[Concatenate[Transport, P], Awaitable[T]],
) -> Callable[Concatenate[Transport, P], Coroutine[Any, Any, T]]:
    """A call that raises what a closed client raises, where its end was the end of that call.

    gRPC has it that then who waits for the call is cancelled.
    """

    @wraps(call)
    async def told(transport: Transport, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(transport, *args, **kwargs)
        except Error:
            transport.opened()
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                transport.opened()
            raise

    return told


class Transport:
    """An open connection; ``_transport.Transport`` has the same methods, which block."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel = endpoint.channel(grpc.aio)
        self._stub = VisualMemoryStub(self._channel)
        self._transfers: set[Blocking] = set()
        self._streams: set[Any] = set()
        self._closed = False

    async def close(self) -> None:
        """Calls under way are cancelled."""
        self._closed = True
        for blocking in self._transfers:
            blocking.close()
        for stream in list(self._streams):  # old releases of gRPC go on waiting for their answers
            stream.cancel()
        await self._channel.close()

    @contextmanager
    def _streaming(self, stream: Any) -> Iterator[Any]:
        """A stream that is cancelled in the end, or when this is closed."""
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            stream.cancel()

    def opened(self) -> Any:
        """Its calls. Raises FailedPrecondition once it is closed."""
        if self._closed:
            refuse_closed()
        return self._stub

    @ended_by_close
    async def do(self, call: Call[T]) -> T:
        """One message, repeated where that may help."""
        patience = self._endpoint.patience(call)
        with patience.noted():
            while True:
                try:
                    return call.read(await self._send(call, patience.remaining()))
                except grpc.RpcError as error:
                    pause = patience.pause(error)
                await asyncio.sleep(pause)

    def _send(self, call: Call[Any], timeout: float) -> Any:
        method = getattr(self.opened(), call.method)
        return method(call.request, timeout=timeout, metadata=self._endpoint.about(call.request))

    @ended_by_close
    async def ask(self, calls: Iterator[Call[list[T]]]) -> list[T]:
        """The answers in order, with the next message on its way while one is worked on."""
        answers: list[T] = []
        flying: deque[asyncio.Task[list[T]]] = deque()
        try:
            while (call := await asyncio.to_thread(next, calls, None)) is not None:
                flying.append(asyncio.create_task(self.do(call)))
                if len(flying) == ASKED_AT_ONCE:
                    answers += await flying.popleft()
            while flying:
                answers += await flying.popleft()
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)
        return answers

    @ended_by_close
    async def values(
        self, request: pb.ValueEntriesRequest, progress: Progress | None
    ) -> dict[str, float]:
        """What comes in a stream of values by id, begun again where that breaks off."""
        patience = self._endpoint.patience()
        while True:
            try:
                return await self._values(request, progress, patience)
            except TimeoutError:
                patience.give_up()
            except grpc.RpcError as error:
                pause = patience.pause(error)
            await asyncio.sleep(pause)

    async def _values(
        self, request: pb.ValueEntriesRequest, progress: Progress | None, patience: Patience
    ) -> dict[str, float]:
        values: dict[str, float] = {}
        with self._streaming(
            self.opened().ValueEntries(request, metadata=self._endpoint.metadata)
        ) as stream:
            while True:
                async with asyncio.timeout(patience.remaining()):
                    answer: Any = await stream.read()
                patience.renew(0)
                if answer is grpc.aio.EOF:
                    return values
                if progress is not None and answer.total_count:
                    progress(answer.done_count, answer.total_count)
                values |= {each.id: each.value for each in answer.values}

    @ended_by_close
    async def backup(
        self,
        memory: str,
        path: str | os.PathLike[str],
        overwrite: bool,
        progress: Progress | None,
    ) -> int:
        """Receive a file; how many bytes it has."""
        return await self._in_thread(
            lambda blocking, told: blocking.backup(memory, path, overwrite, told), progress
        )

    @ended_by_close
    async def restore(
        self,
        path: str | os.PathLike[str],
        memory: str,
        request_id: str | None,
        progress: Progress | None,
    ) -> RestoreResult:
        """Send a file."""
        return await self._in_thread(
            lambda blocking, told: blocking.restore(path, memory, request_id, told), progress
        )

    async def _in_thread(
        self, call: Callable[[Blocking, Progress], T], progress: Progress | None
    ) -> T:
        """A transfer of a file, which blocks, over a connection of its own.

        With a write under way grpc.aio would lose the reason of a refusal.
        """
        loop = asyncio.get_running_loop()

        def told(done: int, total: int) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total)

        self.opened()
        with closing(Blocking(self._endpoint)) as blocking:  # closed, it ends what goes on in it
            self._transfers.add(blocking)
            try:
                return await asyncio.to_thread(call, blocking, told)
            finally:
                self._transfers.discard(blocking)

    @ended_by_close
    async def store(self, importing: Import) -> None:
        """Open stream after stream until everything is stored."""
        while True:
            try:
                await self._stream(importing)
                return
            except TimeoutError:
                if importing.finished:
                    return
                importing.patience.give_up()
            except grpc.RpcError as error:
                if importing.finished:
                    return
                pause = importing.patience.pause(error)
            await asyncio.sleep(pause)

    async def _stream(self, importing: Import) -> None:
        """Send a batch when the one before is stored, and read the files of the next meanwhile.

        With a write under way grpc.aio would lose the reason of a refusal.
        """
        ready: pb.ImportEntriesRequest | None = None
        with self._streaming(
            self.opened().ImportEntries(metadata=self._endpoint.metadata)
        ) as stream:
            await self._write(stream, importing.begin(), importing)
            while (answer := await self._read(stream, importing)) is not None:
                importing.note(answer)
                if importing.finished:
                    await stream.done_writing()
                elif importing.going_on and not answer.working:
                    ready = ready or await asyncio.to_thread(importing.next)
                    await self._write(stream, ready, importing)
                    ready = await asyncio.to_thread(importing.next)
        if not importing.finished:
            raise cut_short()

    async def _write(
        self, stream: Any, request: pb.ImportEntriesRequest | None, importing: Import
    ) -> None:
        async with asyncio.timeout(importing.patience.remaining()):
            with suppress(asyncio.InvalidStateError):  # it has ended; reading says why
                await stream.write(request)

    async def _read(self, stream: Any, importing: Import) -> pb.ImportEntriesResponse | None:
        async with asyncio.timeout(importing.patience.remaining()):
            answer = await stream.read()
        return None if answer is grpc.aio.EOF else answer
