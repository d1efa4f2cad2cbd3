"""What the blocking client does on a connection: calls with their retries, streams and files."""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc

from visual_memory import _backups, _calls
from visual_memory._calls import Call
from visual_memory._connection import Endpoint
from visual_memory._files import whole_file
from visual_memory._import import Import, Progress, cut_short
from visual_memory._patience import Patience, next_within
from visual_memory.errors import Error, from_rpc, refuse_closed
from visual_memory.types import RestoreResult
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

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
        self._channel = endpoint.channel(grpc)
        self._stub = VisualMemoryStub(self._channel)
        self._closed = False

    def close(self) -> None:
        """Calls in other threads are cancelled."""
        self._closed = True
        self._channel.close()

    def opened(self) -> VisualMemoryStub:
        """Its calls. Raises FailedPrecondition once it is closed."""
        if self._closed:
            refuse_closed()
        stub: VisualMemoryStub = self._stub
        return stub

    @ended_by_close
    def do(self, call: Call[T]) -> T:
        """One message, repeated where that may help."""
        patience = self._endpoint.patience(call)
        return self._finish(call, patience, partial(self._send, call))

    def _send(self, call: Call[Any], timeout: float) -> Any:
        method = getattr(self.opened(), call.method)
        return method(call.sent(), timeout=timeout, metadata=self._endpoint.about(call.request))

    def _finish(self, call: Call[T], patience: Patience, attempt: Callable[[float], Any]) -> T:
        """Read the answer of the first attempt, or of one of its retries."""
        while True:
            try:
                return call.read(attempt(patience.remaining()))
            except grpc.RpcError as error:
                pause = patience.pause(error)
            time.sleep(pause)
            attempt = partial(self._send, call)

    @ended_by_close
    def ask(self, calls: Iterator[Call[list[T]]]) -> list[T]:
        """The answers in order, with the next message on its way while one is worked on."""
        answers: list[T] = []
        flying: deque[tuple[Call[list[T]], Patience, Any]] = deque()
        try:
            for call in calls:
                patience = self._endpoint.patience(call)
                future = getattr(self.opened(), call.method).future(
                    call.sent(),
                    timeout=patience.remaining(),
                    metadata=self._endpoint.about(call.request),
                )
                flying.append((call, patience, future))
                if len(flying) == ASKED_AT_ONCE:
                    answers += self._land(*flying.popleft())
            while flying:
                answers += self._land(*flying.popleft())
        finally:
            for _, _, future in flying:
                future.cancel()
        return answers

    def _land(self, call: Call[list[T]], patience: Patience, future: Any) -> list[T]:
        return self._finish(call, patience, lambda _: future.result())

    @ended_by_close
    def values(
        self, request: pb.ValueEntriesRequest, progress: Progress | None
    ) -> dict[str, float]:
        """What comes in a stream of values by id."""
        patience, values = self._endpoint.patience(), dict[str, float]()
        stream = self.opened().ValueEntries(request, metadata=self._endpoint.metadata)
        try:
            while (answer := next_within(patience.remaining(), stream)) is not None:
                patience.renew(0)
                if progress is not None and answer.total_count:
                    progress(answer.done_count, answer.total_count)
                values |= {each.id: each.value for each in answer.values}
        except grpc.RpcError as error:
            if not patience.remaining():
                patience.give_up()
            raise from_rpc(error, self._endpoint.target) from None
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
            size = self.do(_calls.memory_info(memory)).disk_bytes

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
        requests: queue.SimpleQueue[pb.ImportEntriesRequest | None] = queue.SimpleQueue()
        requests.put(importing.begin())
        stream = self.opened().ImportEntries(
            iter(requests.get, None), metadata=self._endpoint.metadata
        )
        try:
            while (answer := next_within(importing.patience.remaining(), stream)) is not None:
                importing.note(answer)
                while importing.going_on and importing.in_flight < IN_FLIGHT_MAX:
                    request = importing.next()
                    if request is None:
                        break
                    requests.put(request)
                if importing.finished:
                    requests.put(None)
        finally:
            requests.put(None)
            stream.cancel()
        if not importing.finished:
            raise cut_short()
