"""A gRPC channel whose calls can be interrupted by Ctrl-C.

KeyboardInterrupt inside gRPC leaves locks taken and counters wrong; every later call on the channel
then hangs. It is raised in the main thread only. So ``WorkerThreads`` make all gRPC calls and
create, use and drop all its objects; a caller submits a job and waits at a queue. Both are single
calls of C, atomic to an interrupt, which therefore ends the wait and nothing else.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Self, TypeAlias

import grpc

from visual_memory._transport.connection import Endpoint
from visual_memory._transport.workers import WorkerThreads
from visual_memory.errors import refuse_closed
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

POLL_SECONDS = 0.2  # until a close is noticed, or an interrupt that wakes no waiter (Windows)
CLOSE_SECONDS = 5.0

OutcomeQueue: TypeAlias = "queue.SimpleQueue[tuple[BaseException | None, Any]]"
Remaining: TypeAlias = Callable[[], float]


class Failed(grpc.RpcError):
    """The status of a failed call, without the gRPC objects that gRPC's own errors hold."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> None:
        super().__init__(details)
        self._code, self._details, self._metadata = code, details, trailing_metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._metadata


class Channel:
    """One connection; each call starts at once in a thread of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._metadata, self._call_metadata = endpoint.metadata, endpoint.call_metadata
        self._closed = False
        self._workers = WorkerThreads()
        self._grpc_channel = GrpcChannel(endpoint, self._workers)
        self._workers.start(self, self._grpc_channel.close)

    def ask(self, method: str, request: Any, timeout: float) -> PendingAnswer:
        """Start a call with one answer within ``timeout`` seconds; return the answer to wait for.

        ``request`` is a message, or an iterator of messages if the method takes a stream.
        """
        self.check_open()
        grpc_channel, pending = self._grpc_channel, PendingAnswer(self)
        outcomes, metadata = pending.outcomes, self._call_metadata(request)

        def answer() -> Any:
            return grpc_channel.method(method)(request, timeout=timeout, metadata=metadata)

        self._workers.submit(partial(grpc_channel.put_outcome, answer, outcomes))
        return pending

    def stream(self, method: str, request: Any = None) -> Stream:
        """Start a call with streamed answers and return its stream.

        The call sends ``request`` or, if that is None, the messages given to ``Stream.send``.
        """
        grpc_channel, metadata = self._grpc_channel, self._metadata

        def begin(sent: Iterator[Any]) -> Any:
            messages = sent if request is None else request
            return grpc_channel.method(method)(messages, metadata=metadata)

        return self._start_stream(StreamTask(grpc_channel, begin, lambda call: next(call, None)))

    def upload(self, method: str, messages: Iterator[Any]) -> Stream:
        """Start a call of streamed messages, iterated in a thread of gRPC, with one answer."""
        grpc_channel, metadata = self._grpc_channel, self._metadata

        def begin(sent: Iterator[Any]) -> Any:
            return grpc_channel.method(method).future(messages, metadata=metadata)

        return self._start_stream(StreamTask(grpc_channel, begin, lambda call: call.result()))

    def check_open(self) -> None:
        """Raise FailedPrecondition if the channel is closed."""
        if self._closed:
            refuse_closed()

    def close(self) -> None:
        """Close the connection and cancel calls under way, within 5 seconds."""
        if self._closed:
            return
        self._closed = True
        grpc_channel, ended = self._grpc_channel, queue.SimpleQueue[bool]()

        def end() -> None:
            grpc_channel.close()
            ended.put(True)

        self._workers.submit(end)
        with suppress(queue.Empty):
            ended.get(timeout=CLOSE_SECONDS)

    def _start_stream(self, task: StreamTask) -> Stream:
        self.check_open()
        stream = Stream(self, task, partial(self._workers.submit, task.end))
        task.owner = self._workers.watch(stream, task.end)
        self._workers.submit(task.run)
        return stream


class PendingAnswer:
    """The future answer to a call."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.outcomes: OutcomeQueue = queue.SimpleQueue()

    def get(self, remaining: Remaining) -> Any:
        """Wait for the answer while ``remaining()`` is positive, then 0.2 s for gRPC's status.

        Raises grpc.RpcError if the call fails or is late, and FailedPrecondition once the channel
        is closed.
        """
        while True:
            left = remaining()
            try:
                error, answer = self.outcomes.get(timeout=min(left, POLL_SECONDS) or POLL_SECONDS)
            except queue.Empty:
                self._channel.check_open()
                if not left:
                    raise Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Not in time.") from None
                continue
            if error is not None:
                raise error
            return answer


class Stream(PendingAnswer):
    """A stream of answers; ``cancel``, or leaving the ``with`` block, ends it without waiting."""

    def __init__(self, channel: Channel, task: StreamTask, cancel: Callable[[], None]) -> None:
        super().__init__(channel)
        self.outcomes = task.outcomes
        self._request_read, self.send = task.reads.put, task.sent.put
        self.cancel = cancel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def read(self, remaining: Remaining) -> Any:
        """Return the next answer, or None after the last. Raises as ``PendingAnswer.get`` does."""
        self._request_read(True)
        return self.get(remaining)


class GrpcChannel:
    """The channel of gRPC itself, used by worker threads only."""

    def __init__(self, endpoint: Endpoint, workers: WorkerThreads) -> None:
        self._endpoint, self._workers = endpoint, workers
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._tasks = set[StreamTask]()
        self._closed = False

    def method(self, name: str) -> Any:
        """Return the stub's method ``name``. Raises FailedPrecondition if the channel is closed."""
        with self._lock:
            if self._closed:
                refuse_closed()
            if self._channel is None:
                self._channel = self._endpoint.channel(grpc)
                self._stub = VisualMemoryStub(self._channel)
            return getattr(self._stub, name)

    def add(self, task: StreamTask) -> bool:
        """Register a stream, so that ``close`` ends it; return False if the channel is closed."""
        with self._lock:
            if not self._closed:
                self._tasks.add(task)
            return not self._closed

    def remove(self, task: StreamTask) -> None:
        """Unregister a stream that has ended."""
        with self._lock:
            self._tasks.discard(task)

    def put_outcome(self, act: Callable[[], Any], outcomes: OutcomeQueue) -> None:
        """Put (None, result of ``act``) or, if it raises, (the error, None) into the queue."""
        try:
            outcomes.put((None, act()))
        except BaseException as error:
            outcomes.put((self._without_frames(error), None))

    def close(self) -> None:
        """End all calls, the channel and the worker threads."""
        with self._lock:
            channel, self._channel, self._stub = self._channel, None, None
            tasks, self._closed = list(self._tasks), True
        for task in tasks:
            task.end()
        if channel is not None:
            channel.close()
        self._workers.end()

    def _without_frames(self, error: BaseException) -> BaseException:
        """Return an error that holds no object of gRPC, neither in its fields nor in its traceback.

        Only worker threads may hold and free such objects.
        """
        error.__traceback__ = None
        if isinstance(error, grpc.RpcError):
            return Failed(error.code(), error.details() or "", error.trailing_metadata())
        if self._closed:  # gRPC raises various errors then
            return Failed(grpc.StatusCode.CANCELLED, "The client is closed.")
        return error


class StreamTask:
    """A stream read by worker threads, and ended when its ``owner`` is garbage-collected."""

    def __init__(
        self,
        grpc_channel: GrpcChannel,
        begin: Callable[[Iterator[Any]], Any],
        receive: Callable[[Any], Any],
    ) -> None:
        self._grpc_channel, self._begin, self._receive = grpc_channel, begin, receive
        self._lock = threading.Lock()
        self._call: Any = None
        self._ended = False
        self.reads: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outcomes: OutcomeQueue = queue.SimpleQueue()
        self.owner: weakref.ref[object] | None = None

    def run(self) -> None:
        """Read an answer whenever ``Stream.read`` asks for one, until the stream ends."""
        if self._grpc_channel.add(self):
            while self.reads.get():
                self._grpc_channel.put_outcome(self._next, self.outcomes)
            self._grpc_channel.remove(self)
        self.end()

    def end(self) -> None:
        """Cancel the stream and stop reading."""
        with self._lock:
            call, self._call, self._ended, self.owner = self._call, None, True, None
        self.reads.put(False)
        self.sent.put(None)
        if call is not None:
            call.cancel()

    def _next(self) -> Any:
        with self._lock:
            if self._ended:
                raise Failed(grpc.StatusCode.CANCELLED, "The stream was cancelled.")
            if self._call is None:
                self._call = self._begin(iter(self.sent.get, None))
            call = self._call
        return self._receive(call)
