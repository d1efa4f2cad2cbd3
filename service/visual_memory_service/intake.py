"""How much a server takes on at a time: calls, bytes of messages, and clients that are silent."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from visual_memory_service.errors import Overloaded, ServerStopping, TooLarge

HOLDS = (
    3  # times its bytes that a message takes: as it came, as its fields, and as what they become
)
LOOK_SECONDS = 1.0
PRESSED_SECONDS = 5.0  # of silence, where others wait for a place


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is taken on at a time, and how long what is under way may go on at the end."""

    calls_max: int
    connection_calls_max: int
    connections_max: int
    message_bytes_max: int
    pending_bytes_max: int
    idle_seconds: float
    drain_seconds: float


class Ended(Protocol):
    """A call that can be ended because its client is silent."""

    def end_silent(self) -> None: ...


class Intake:
    """Admits calls until it drains, and counts what they hold.

    Of the messages of a stream that is the latest; one alone may hold more than
    ``pending_bytes_max``.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._pending_bytes = 0
        # That gRPC receives, in the pieces that come and joined.
        self._largest = 2 * 2 * bounds.message_bytes_max
        self._places = asyncio.Semaphore(bounds.calls_max)
        self.beginnings = asyncio.Semaphore(max(1, bounds.pending_bytes_max // self._largest))
        self._waiting, self._calls, self._draining = 0, 0, False
        self._idle = asyncio.Event()
        self._silent: dict[Ended, float] = {}  # since when; those that are longest come first

    async def admit(self) -> None:
        """A call begins, once there is a place for it. Raises ServerStopping."""
        self._waiting += 1
        try:
            if not self._draining:
                await self._places.acquire()
        finally:
            self._waiting -= 1
        if self._draining:
            raise ServerStopping
        self._calls += 1

    async def drain(self) -> None:
        """Admit no more calls, and come back once those under way are over."""
        self._draining = True
        for _ in range(self._waiting):
            self._places.release()
        if self._calls:
            await self._idle.wait()

    def expect(self, size: int | None) -> int:
        """What a call holds whose message comes: of ``size`` bytes, or else of as many as can be.

        Raises TooLarge, Overloaded.
        """
        if size is None:
            return self.exchange(0, self._largest)
        self.check(size)
        return self.exchange(0, HOLDS * size)

    def take(self, held: int, size: int) -> int:
        """What a call holds once its next message took the place of the last.

        Raises TooLarge, Overloaded.
        """
        self.check(size)
        return self.exchange(held, HOLDS * size)

    def exchange(self, held: int, size: int) -> int:
        """What a call holds: ``size`` bytes in place of ``held``. Raises Overloaded."""
        others = self._pending_bytes - held
        if others and others + size > self._bounds.pending_bytes_max:
            raise Overloaded(self._bounds.pending_bytes_max)
        self._pending_bytes = others + size
        return size

    def check(self, size: int) -> None:
        """Raises TooLarge."""
        if size > self._bounds.message_bytes_max:
            raise TooLarge(size, self._bounds.message_bytes_max)

    def release(self, held: int) -> None:
        """A call is over that was admitted."""
        self._pending_bytes -= held
        self._calls -= 1
        self._places.release()
        if not self._calls and self._draining:
            self._idle.set()

    def note(self, call: Ended, *, silent: bool) -> None:
        """Whether it is its client that a call waits for, from now on."""
        self._silent.pop(call, None)
        if silent:
            self._silent[call] = time.monotonic()

    async def watch(self) -> None:
        """End calls whose clients are silent for too long, until this is cancelled.

        Where others wait for a place that is the sooner.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            waiting, now = self._waiting, time.monotonic()
            for call, since in list(self._silent.items()):
                if now - since < (PRESSED_SECONDS if waiting else self._bounds.idle_seconds):
                    break
                call.end_silent()
                waiting -= bool(waiting)
