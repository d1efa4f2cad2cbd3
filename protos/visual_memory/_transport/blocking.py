"""The blocking transport: calls with retries, streams and file transfers on one connection."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import grpc

from visual_memory._messages.call import Call, LongRunning, WithDryRun
from visual_memory._transport.channel import Channel, PendingAnswer
from visual_memory._transport.connection import Endpoint
from visual_memory._transport.imports import Import, Progress, incomplete_import
from visual_memory._transport.retry import RetryBudget
from visual_memory.types import Operation, UnlearnResult

P = ParamSpec("P")
T = TypeVar("T")
MESSAGES_AT_ONCE = 2
BATCHES_AT_ONCE = 4


def long_running(
    method: Callable[Concatenate[Any, P], T | Operation],
) -> LongRunning[P, T, Operation]:
    """Declare to type checkers that a method returns the operation only with ``wait=False``."""
    return cast("LongRunning[P, T, Operation]", method)


def with_dry_run(
    method: Callable[Concatenate[Any, P], T | Operation | UnlearnResult],
) -> WithDryRun[P, T, Operation, UnlearnResult]:
    """Declare to type checkers what a method returns with ``wait=False`` or ``dry_run=True``."""
    return cast("WithDryRun[P, T, Operation, UnlearnResult]", method)


class Transport:
    """An open connection; ``aio.Transport`` has the same methods as coroutines."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.channel = Channel(endpoint)

    def close(self) -> None:
        """Close the connection and cancel calls in other threads."""
        self.channel.close()

    def do(self, call: Call[T]) -> T:
        """Make a call of one message, with retries, and return its answer."""
        budget = self.endpoint.budget(call)
        with budget.annotate_interrupts():
            return self._receive(call, budget, self._send(call, budget))

    def _retry(self, attempt: Callable[[], T], budget: RetryBudget) -> T:
        """Repeat an attempt until it succeeds; return its result.

        Raises Error if the failure cannot be retried or ``budget`` has no time left, and
        FailedPrecondition (CLIENT_CLOSED) if the transport is closed.
        """
        while True:
            try:
                return attempt()
            except grpc.RpcError as error:
                self.channel.check_open()
                next_delay = budget.next_delay(error)
            time.sleep(next_delay)

    def _send(self, call: Call[T], budget: RetryBudget) -> PendingAnswer:
        return self.channel.ask(call.method, call.sent(), budget.remaining())

    def _receive(self, call: Call[T], budget: RetryBudget, first: PendingAnswer) -> T:
        """Return the answer to ``first``, the first try of a call; if that fails, retry it."""
        tries = [first]

        def attempt() -> T:
            pending = tries.pop() if tries else self._send(call, budget)
            return call.read(pending.get(budget.remaining))

        return self._retry(attempt, budget)

    def ask(self, calls: Iterator[Call[list[T]]]) -> list[T]:
        """Make calls, two in flight at a time, and return their answers as one list, in order."""
        answers: list[T] = []
        in_flight: deque[tuple[Call[list[T]], RetryBudget, PendingAnswer]] = deque()

        def receive_oldest() -> None:
            landed: list[T] = self._receive(*in_flight.popleft())
            answers.extend(landed)

        for call in calls:
            budget = self.endpoint.budget(call)
            in_flight.append((call, budget, self._send(call, budget)))
            if len(in_flight) == MESSAGES_AT_ONCE:
                receive_oldest()
        while in_flight:
            receive_oldest()
        return answers

    def find(self, call: Call[list[T]], progress: Progress | None) -> list[T]:
        """Return what a stream of progress and findings brings; it is restarted if it breaks.

        ``progress``, if not None, is called with how much is done, of how much.
        """
        budget = self.endpoint.budget()

        def attempt() -> list[T]:
            found: list[T] = []
            with self.channel.stream(call.method, call.request) as stream:
                while (answer := stream.read(budget.remaining)) is not None:
                    budget.renew(0)
                    if progress is not None and answer.total_count:
                        progress(answer.done_count, answer.total_count)
                    found += call.read(answer)
            return found

        return self._retry(attempt, budget)

    def transfer(self, run: Callable[[Transport, Progress], T], progress: Progress | None) -> T:
        """Return the result of ``run`` with this transport and ``progress``, which may be None."""
        return run(self, progress or (lambda done, total: None))

    def import_entries(self, importing: Import) -> None:
        """Run an import until all entries are stored, on a new stream after each that breaks."""

        def attempt() -> None:
            try:
                self._stream(importing)
            except grpc.RpcError:
                if not importing.finished:
                    raise

        self._retry(attempt, importing.budget)

    def _stream(self, importing: Import) -> None:
        with self.channel.stream("ImportEntries") as stream:
            stream.send(importing.start_stream())
            while (answer := stream.read(importing.budget.remaining)) is not None:
                importing.acknowledge(answer)
                while importing.resumed and len(importing.sent) < BATCHES_AT_ONCE:
                    request = importing.next()
                    if request is None:
                        break
                    stream.send(request)
                if importing.finished:
                    stream.send(None)
        if not importing.finished:
            raise incomplete_import()
