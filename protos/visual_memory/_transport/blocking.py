"""What the blocking client does on a connection: calls with their retries, streams and files."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import grpc

from visual_memory._messages.answers import to_memory
from visual_memory._messages.call import Call
from visual_memory._messages.fields import message
from visual_memory._transport import backups as _backups
from visual_memory._transport.channel import Channel, Pending
from visual_memory._transport.connection import Endpoint
from visual_memory._transport.imports import Import, Progress, cut_short
from visual_memory._transport.retry import Patience
from visual_memory.errors import Error
from visual_memory.files import whole_file
from visual_memory.types import RestoreResult
from visual_memory.v1 import service_pb2 as pb

P = ParamSpec("P")
T = TypeVar("T")
ASKED_AT_ONCE = 2
IN_FLIGHT_MAX = 4


def ended_by_close(
    call: Callable[Concatenate[Transport, P], T],
) -> Callable[Concatenate[Transport, P], T]:
    """A call that raises what a closed client raises, where its end was the end of that call."""

    @wraps(call)
    def told(transport: Transport, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(transport, *args, **kwargs)
        except Error:
            transport.opened()
            raise

    return told


class Transport:
    """An open connection; ``_aio_transport.Transport`` has the same methods, to be awaited."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel = Channel(endpoint)

    def close(self) -> None:
        """Calls in other threads are cancelled."""
        self._channel.close()

    def opened(self) -> Channel:
        """Raises FailedPrecondition once it is closed."""
        self._channel.check_open()
        return self._channel

    @ended_by_close
    def do(self, call: Call[T]) -> T:
        """One message, repeated where that may help."""
        patience = self._endpoint.patience(call)
        with patience.noted():
            return self._land(call, patience, self._send(call, patience))

    def _send(self, call: Call[T], patience: Patience) -> Pending:
        return self.opened().ask(call.method, call.sent(), patience.remaining())

    def _land(self, call: Call[T], patience: Patience, pending: Pending) -> T:
        """Read the answer of the first attempt, or of one of its retries."""
        while True:
            try:
                return call.read(pending.get(patience.remaining))
            except grpc.RpcError as error:
                pause = patience.pause(error)
            time.sleep(pause)
            pending = self._send(call, patience)

    @ended_by_close
    def ask(self, calls: Iterator[Call[list[T]]]) -> list[T]:
        """The answers in order, with the next message on its way while one is worked on."""
        answers: list[T] = []
        flying: deque[tuple[Call[list[T]], Patience, Pending]] = deque()

        def land() -> None:
            landed: list[T] = self._land(*flying.popleft())
            answers.extend(landed)

        for call in calls:
            patience = self._endpoint.patience(call)
            flying.append((call, patience, self._send(call, patience)))
            if len(flying) == ASKED_AT_ONCE:
                land()
        while flying:
            land()
        return answers

    @ended_by_close
    def values(
        self, request: pb.ValueEntriesRequest, progress: Progress | None
    ) -> dict[str, float]:
        """What comes in a stream of values by id, begun again where that breaks off."""
        patience = self._endpoint.patience()
        while True:
            try:
                return self._values(request, progress, patience)
            except grpc.RpcError as error:
                pause = patience.pause(error)
            time.sleep(pause)

    def _values(
        self, request: pb.ValueEntriesRequest, progress: Progress | None, patience: Patience
    ) -> dict[str, float]:
        values: dict[str, float] = {}
        stream = self.opened().stream("ValueEntries", request)
        try:
            while (answer := stream.read(patience.remaining)) is not None:
                patience.renew(0)
                if progress is not None and answer.total_count:
                    progress(answer.done_count, answer.total_count)
                values |= {each.id: each.value for each in answer.values}
        finally:
            stream.cancel()
        return values

    @ended_by_close
    def backup(
        self,
        memory: str,
        path: str | os.PathLike[str],
        overwrite: bool,
        progress: Progress | None,
    ) -> int:
        """Receive a file; how many bytes it has."""
        with whole_file(path, overwrite=overwrite) as file:
            asked = message(pb.GetMemoryRequest, name=memory)
            size = self.do(Call("GetMemory", asked, to_memory)).disk_bytes

            def told(done: int) -> None:
                if progress is not None:
                    progress(done, max(done, size))

            return _backups.receive(self.opened, self._endpoint, memory, file, told)

    @ended_by_close
    def restore(
        self,
        path: str | os.PathLike[str],
        memory: str,
        request_id: str | None,
        progress: Progress | None,
    ) -> RestoreResult:
        """Send a file."""
        told = progress or (lambda done, total: None)
        return _backups.send(self.opened, self._endpoint, path, memory, request_id, told)

    @ended_by_close
    def store(self, importing: Import) -> None:
        """Open stream after stream until everything is stored."""
        while True:
            try:
                self._stream(importing)
                return
            except grpc.RpcError as error:
                if importing.finished:
                    return
                pause = importing.patience.pause(error)
            time.sleep(pause)

    def _stream(self, importing: Import) -> None:
        stream = self.opened().stream("ImportEntries")
        try:
            stream.send(importing.begin())
            while (answer := stream.read(importing.patience.remaining)) is not None:
                importing.note(answer)
                while importing.going_on and importing.in_flight < IN_FLIGHT_MAX:
                    request = importing.next()
                    if request is None:
                        break
                    stream.send(request)
                if importing.finished:
                    stream.send(None)
        finally:
            stream.cancel()
        if not importing.finished:
            raise cut_short()
