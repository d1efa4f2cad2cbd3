"""Retries end: how long a message may take in all, with its pauses."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc

from visual_memory import errors
from visual_memory.errors import DeadlineExceeded, Error

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.05, 2.0
CONNECTING_SECONDS = 5.0
ALIVE_SECONDS, ALIVE_SECONDS_MIN = 5.0, 0.1
RETRIED = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,  # by a server that ends its connections
)
ENDED = (KeyboardInterrupt, asyncio.CancelledError)
BROKEN_WRITE = "Internal error from Core"  # grpc.aio, where a stream breaks while it is written to


class Patience:
    """How long one message may still take, and how long to wait before it is sent again."""

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
        self._request_id, self._met = request_id, False
        self._clock, self._jitter = clock, jitter
        self.renew(start)

    def renew(self, start: int) -> None:
        """Begin anew with the next message, whose first item is number ``start`` of the call."""
        self._start = start
        self._deadline = self._clock() + self._timeout
        self._pause = PAUSE_SECONDS
        self._connecting_until: float | None = None
        self._refused: Error | None = None

    @property
    def alive_seconds(self) -> float:
        """How often a server may say that it works, to be heard within the timeout."""
        return max(ALIVE_SECONDS_MIN, min(ALIVE_SECONDS, self._timeout / 4))

    def answered(self) -> None:
        """There is a server; one that refuses connections from now on is being restarted."""
        self._met, self._connecting_until = True, None

    def extend(self, since: float) -> None:
        """Do not count the time since then, in which nobody waited for the server."""
        self._deadline += self._clock() - since

    def remaining(self) -> float:
        """Seconds."""
        return max(self._deadline - self._clock(), 0.0)

    def pause(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the next try, or raises what the caller has to know."""
        code, now = error.code(), self._clock()
        late = code is grpc.StatusCode.CANCELLED and now >= self._deadline
        if code is grpc.StatusCode.DEADLINE_EXCEEDED or late:
            self.give_up()
        if errors.never_connected(error) and not self._met:
            self._connecting_until = self._connecting_until or now + CONNECTING_SECONDS
        else:
            self._connecting_until = None
        pause = self._pause * (0.5 + 0.5 * self._jitter())
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        if self._connecting_until is not None:
            pause = min(pause, self._connecting_until - now)
        self._refused = errors.from_rpc(error, self._target)
        if not worth_a_retry(error) or pause <= 0 or now + pause >= self._deadline:
            raise self._told(self._refused) from None
        return pause

    def give_up(self) -> NoReturn:
        """Raises DeadlineExceeded."""
        sentence = f"No answer from {self._target} within the timeout of {self._timeout:g} s"
        if self._request_id:
            sentence += "; whether it was done is not known"
        if self._refused:
            sentence += f". The try before was refused: {self._refused.message.rstrip('.')}"
        error = self._told(DeadlineExceeded(f"{sentence}."))
        if self._request_id:
            error.advice = f"The same call with request_id={self._request_id!r} does it once."
        raise error from None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Let what ends the waiting, such as Ctrl-C, say how to find out whether it was done."""
        try:
            yield
        except ENDED as ended:
            if self._request_id:
                ended.add_note(f"Interrupted; {self._doubt()}.")
            raise

    def _doubt(self) -> str:
        return (
            "whether it was done is not known, but the same call with "
            f"request_id={self._request_id!r} does it once"
        )

    def _told(self, error: Error) -> Error:
        error.request_id = self._request_id or None
        error.shift(self._start)
        return error


def worth_a_retry(error: grpc.RpcError) -> bool:
    """Whether the same message may be taken a little later."""
    if error.code() is grpc.StatusCode.INTERNAL:
        return error.details() == BROKEN_WRITE
    return error.code() in RETRIED and not errors.too_large(error)
