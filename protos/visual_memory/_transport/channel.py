"""A channel of gRPC whose calls Ctrl-C may interrupt.

An interrupt inside of gRPC leaves locks taken and counts wrong, and from then on every call of the
channel waits for ever. Interrupts strike in the main thread. So the threads of a ``Crew`` make all
calls of gRPC, and its objects are made, used and dropped there; who wants an answer hands over a
job and waits at a queue. Both are one call of C on what is whole before and after it: an interrupt
ends the waiting and nothing else.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import grpc

from visual_memory._transport.connection import Endpoint
from visual_memory._transport.crew import Crew
from visual_memory.errors import refuse_closed
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

LOOK_SECONDS = 0.2  # until an interrupt is noticed that wakes nobody, as on Windows, or a close
CLOSE_SECONDS = 5.0

Outcomes: TypeAlias = "queue.SimpleQueue[tuple[BaseException | None, Any]]"
Remaining: TypeAlias = Callable[[], float]


class Failed(grpc.RpcError):
    """How a call ended, without the objects of gRPC that its own errors hold."""

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
    """One connection; calls begin at once, each in a thread of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._metadata, self._about = endpoint.metadata, endpoint.about
        self._closed = False
        self._crew = Crew()
        self._inside = Inside(endpoint, self._crew)
        self._crew.begin(self, self._inside.close)

    def ask(self, method: str, request: Any, timeout: float) -> Pending:
        """Send a message, or several, to be answered by one within ``timeout`` seconds."""
        inside, pending = self._inside, Pending(self)
        outcomes, metadata = pending.outcomes, self._about(request)

        def answer() -> Any:
            return inside.method(method)(request, timeout=timeout, metadata=metadata)

        self._crew.hand(partial(inside.deliver, answer, outcomes))
        return pending

    def stream(self, method: str, request: Any = None) -> Stream:
        """Receive a stream: the answers to one message or, without any, to those that are sent."""
        inside, metadata = self._inside, self._metadata

        def begin(sent: Iterator[Any]) -> Any:
            messages = sent if request is None else request
            return inside.method(method)(messages, metadata=metadata)

        return self._begun(Flight(inside, begin, lambda call: next(call, None)))

    def upload(self, method: str, messages: Iterator[Any]) -> Stream:
        """Send a stream of messages, which gRPC takes in a thread of its own, for one answer."""
        inside, metadata = self._inside, self._metadata

        def begin(sent: Iterator[Any]) -> Any:
            return inside.method(method).future(messages, metadata=metadata)

        return self._begun(Flight(inside, begin, lambda call: call.result()))

    def check_open(self) -> None:
        """Raises FailedPrecondition once it is closed."""
        if self._closed:
            refuse_closed()

    def close(self) -> None:
        """Calls under way are cancelled; takes at most 5 seconds."""
        if self._closed:
            return
        self._closed = True
        inside, ended = self._inside, queue.SimpleQueue[bool]()

        def end() -> None:
            inside.close()
            ended.put(True)

        self._crew.hand(end)
        with suppress(queue.Empty):
            ended.get(timeout=CLOSE_SECONDS)

    def _begun(self, flight: Flight) -> Stream:
        stream = Stream(self, flight, partial(self._crew.hand, flight.end))
        flight.lost = self._crew.watch(stream, flight.end)
        self._crew.hand(flight.carry_out)
        return stream


class Pending:
    """An answer that will come."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.outcomes: Outcomes = queue.SimpleQueue()

    def get(self, remaining: Remaining) -> Any:
        """Wait while seconds are ``remaining``, and then a little for what gRPC says of it.

        Raises grpc.RpcError, FailedPrecondition.
        """
        while True:
            left = remaining()
            try:
                error, answer = self.outcomes.get(timeout=min(left, LOOK_SECONDS) or LOOK_SECONDS)
            except queue.Empty:
                self._channel.check_open()
                if not left:
                    raise Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Not in time.") from None
                continue
            if error is not None:
                raise error
            return answer


class Stream(Pending):
    """Answers that come one by one, until the last, or until ``cancel``, which does not wait."""

    def __init__(self, channel: Channel, flight: Flight, cancel: Callable[[], None]) -> None:
        super().__init__(channel)
        self.outcomes = flight.outcomes
        self._ask, self.send = flight.asked.put, flight.sent.put
        self.cancel = cancel

    def read(self, remaining: Remaining) -> Any:
        """The next answer, or None after the last. Raises as ``get``."""
        self._ask(True)
        return self.get(remaining)


class Inside:
    """gRPC's channel, for jobs alone."""

    def __init__(self, endpoint: Endpoint, crew: Crew) -> None:
        self._endpoint, self._crew = endpoint, crew
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._flights = set[Flight]()
        self._closed = False

    def method(self, name: str) -> Any:
        """How gRPC calls it. Raises FailedPrecondition once it is closed."""
        with self._lock:
            if self._closed:
                refuse_closed()
            if self._channel is None:
                self._channel = self._endpoint.channel(grpc)
                self._stub = VisualMemoryStub(self._channel)
            return getattr(self._stub, name)

    def add(self, flight: Flight) -> bool:
        """End the stream when this is closed, or say that it is."""
        with self._lock:
            if not self._closed:
                self._flights.add(flight)
            return not self._closed

    def remove(self, flight: Flight) -> None:
        """The stream has ended."""
        with self._lock:
            self._flights.discard(flight)

    def deliver(self, act: Callable[[], Any], outcomes: Outcomes) -> None:
        """Let who waits know what comes of it."""
        try:
            outcomes.put((None, act()))
        except BaseException as error:
            outcomes.put((self._told(error), None))

    def close(self) -> None:
        """End the calls, and the crew."""
        with self._lock:
            channel, self._channel, self._stub = self._channel, None, None
            flights, self._closed = list(self._flights), True
        for flight in flights:
            flight.end()
        if channel is not None:
            channel.close()
        self._crew.end()

    def _told(self, error: BaseException) -> BaseException:
        """An error without its frames: they hold the call, which would be dropped anywhere."""
        error.__traceback__ = None
        if isinstance(error, grpc.RpcError):
            return Failed(error.code(), error.details() or "", error.trailing_metadata())
        if self._closed:  # for which gRPC has several errors
            return Failed(grpc.StatusCode.CANCELLED, "The client is closed.")
        return error


class Flight:
    """A stream as the crew sees it: read when asked, and cancelled where nobody wants it."""

    def __init__(
        self,
        inside: Inside,
        begin: Callable[[Iterator[Any]], Any],
        receive: Callable[[Any], Any],
    ) -> None:
        self._inside, self._begin, self._receive = inside, begin, receive
        self._lock = threading.Lock()
        self._call: Any = None
        self._over = False
        self.asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outcomes: Outcomes = queue.SimpleQueue()
        self.lost: weakref.ref[object] | None = None

    def carry_out(self) -> None:
        """Read an answer each time that one is asked for."""
        if self._inside.add(self):
            while self.asked.get():
                self._inside.deliver(self._next, self.outcomes)
            self._inside.remove(self)
        self.end()

    def end(self) -> None:
        """Stop, wherever it is."""
        with self._lock:
            call, self._call, self._over, self.lost = self._call, None, True, None
        self.asked.put(False)
        self.sent.put(None)
        if call is not None:
            call.cancel()

    def _next(self) -> Any:
        with self._lock:
            if self._call is None and not self._over:
                self._call = self._begin(iter(self.sent.get, None))
            call = self._call
        return None if call is None else self._receive(call)
