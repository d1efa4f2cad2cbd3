"""Retries of a call with exponential delays, within the timeout of one message."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc

from visual_memory import errors

DELAY_SECONDS, DELAY_SECONDS_MAX = 0.05, 2.0
CONNECTING_SECONDS = 5.0
RETRY_SPREAD = 0.2  # of the time after which the server says it would take a call
ALIVE_SECONDS, ALIVE_SECONDS_MIN = 5.0, 0.1
RETRIED = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,  # by a server that ends its connections
)
INTERRUPTS = (KeyboardInterrupt, asyncio.CancelledError)
LOG = logging.getLogger("visual_memory")
BROKEN_WRITE = "Internal error from Core"  # grpc.aio, where a stream breaks while it is written to


class RetryBudget:
    """The time left for one message with its retries, and the delay before the next retry."""

    def __init__(
        self,
        target: str,
        timeout: float,
        *,
        request_id: str = "",
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._target, self._timeout = target, timeout
        self._request_id, self._reached = request_id, False
        self._clock, self._jitter = clock, jitter
        self.renew(start)

    def renew(self, start: int) -> None:
        """Reset for the next message, whose first item is number ``start`` of the call."""
        self._start = start
        self._deadline = self._clock() + self._timeout
        self._delay, self._warned = DELAY_SECONDS, False
        self._connecting_until: float | None = None
        self._refused: errors.Error | None = None
        self._tried: dict[str, grpc.RpcError] = {}

    @property
    def alive_seconds(self) -> float:
        """Return the interval, in seconds, for the server to report that it works on an import."""
        return max(ALIVE_SECONDS_MIN, min(ALIVE_SECONDS, self._timeout / 4))

    def extend(self, since: float) -> None:
        """Extend the deadline by the time since ``since``, in seconds of the budget's clock."""
        self._deadline += self._clock() - since

    def remaining(self) -> float:
        """Return the seconds left, at least 0."""
        return max(self._deadline - self._clock(), 0.0)

    def next_delay(self, error: grpc.RpcError) -> float:
        """Return the seconds to wait before the next try of a call that failed with ``error``.

        It is at least as long as the server asks for. A warning is logged once the delays have
        reached their maximum of 2 s, unless no connection was made, which is tried for 5 s only.
        Raises Error if the call cannot be retried or no time is left.
        """
        code, now = error.code(), self._clock()
        late = code is grpc.StatusCode.CANCELLED and now >= self._deadline
        if code is grpc.StatusCode.DEADLINE_EXCEEDED or late:
            self.raise_timeout()
        if not errors.never_connected(error):  # connections refused later mean a restart
            self._reached, self._connecting_until = True, None
            self._tried.clear()
        else:
            error = errors.most_telling(self._tried, error)
            if not self._reached:
                self._connecting_until = self._connecting_until or now + CONNECTING_SECONDS
        delay, self._delay = self._delay, min(2 * self._delay, DELAY_SECONDS_MAX)
        next_delay = delay * (0.5 + 0.5 * self._jitter())
        if self._connecting_until is not None:
            next_delay = min(next_delay, self._connecting_until - now)
        self._refused = errors.from_rpc(error, self._target)
        if self._refused.retry_seconds is not None:
            spread = 1.0 + RETRY_SPREAD * self._jitter()  # or all who wait would come at once
            next_delay = max(next_delay, self._refused.retry_seconds * spread)
        if not is_retriable(error) or next_delay <= 0 or now + next_delay >= self._deadline:
            raise self._completed(self._refused) from None
        is_long = self._delay == DELAY_SECONDS_MAX and self._connecting_until is None
        if is_long and not self._warned:
            self._warned = True
            LOG.warning("Trying again for %.0f s: %s", self.remaining(), self._refused.message)
        return next_delay

    def raise_timeout(self) -> NoReturn:
        """Raise DeadlineExceeded, with the error of the try before, if any, in its message."""
        sentence = f"No answer from {self._target} within the timeout of {self._timeout:g} s"
        if self._request_id:
            sentence += "; whether it was done is not known"
        if self._refused:
            sentence += f". The try before was refused: {self._refused.message.rstrip('.')}"
        error = self._completed(errors.DeadlineExceeded(f"{sentence}."))
        if self._request_id:
            error.advice = f"The same call with request_id={self._request_id!r} does it once."
        raise error from None

    @contextmanager
    def annotate_interrupts(self) -> Iterator[None]:
        """Context manager: add to an interrupt the request_id with which to repeat the write.

        An interrupt is a Ctrl-C or a cancellation.
        """
        try:
            yield
        except INTERRUPTS as ended:
            if self._request_id:
                ended.add_note(
                    "Interrupted; whether it was done is not known, but the same call with "
                    f"request_id={self._request_id!r} does it once."
                )
            raise

    def _completed(self, error: errors.Error) -> errors.Error:
        error.request_id = self._request_id or None
        error.shift(self._start)
        return error


def is_retriable(error: grpc.RpcError) -> bool:
    """Return True if the same message may be accepted a little later."""
    if error.code() is grpc.StatusCode.INTERNAL:
        return error.details() == BROKEN_WRITE
    return error.code() in RETRIED and not errors.too_large(error)
