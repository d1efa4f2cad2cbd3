"""Admission control: the calls, message bytes and silent clients that a server takes at a time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Protocol

from visual_memory_service.config import Bounds
from visual_memory_service.errors import ClientSilent, Overloaded, ServerStopping, TooLarge

HOLDS = 3  # times the size of a message: as received, as parsed, and as the values made of it
ANSWER_HOLDS = 2  # times the size of an answer: as made, and as gRPC sends it
LOOK_SECONDS = 1.0
PRESSED_SECONDS = 5.0  # of silence, if other calls wait for what its end would free
SMALL_BYTES = 65_536  # messages up to this size are never refused: calls_max limits them
LATE_MAX = 2  # calls at once that are not admitted, and whose message does not come at once
SHARE = 0.5  # of the bytes, which the calls of one key may hold


class AdmittedCall(Protocol):
    """Protocol of a call that holds bytes, and can be ended because its client is silent.

    Its end frees the ``held`` bytes and, if it is ``unannounced``, one of the few places for
    messages of unknown size. If other calls wait for bytes or places, the call may be ended after
    ``patience`` seconds of silence, else after ``idle_seconds``, or those of all calls if None.
    The key of its caller is named ``holder``, None where nobody needs a key.
    """

    held: int
    holder: str | None
    unannounced: bool
    patience: float
    idle_seconds: float | None

    def end_silent(self) -> None: ...


class Places:
    """Semaphore that counts its waiters; they are served in order of arrival."""

    def __init__(self, number: int) -> None:
        self._free = asyncio.Semaphore(number)
        self.waiting = 0

    async def take(self) -> None:
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1

    def give(self) -> None:
        self._free.release()


class AdmissionControl:
    """Admits calls until it drains, and limits the bytes that they hold.

    Of a stream only the latest message counts. A message may exceed ``pending_bytes_max`` if no
    other call holds bytes, and a SHARE of them if no other call of its key does.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._pending_bytes = 0
        self._held_by = Counter[str | None]()  # bytes, by the name of a key
        self._refused = dict[str | None, tuple[int, float]]()  # what and when, None: by all calls
        self._places = Places(bounds.calls_max)
        # gRPC receives up to twice the limit, and holds it twice: in pieces, and joined.
        largest = 2 * 2 * bounds.message_bytes_max
        number = max(1, bounds.pending_bytes_max // largest)
        self._unannounced = Places(number)
        self._unannounced_of = defaultdict[str, Places](lambda: Places(max(1, int(SHARE * number))))
        self._late = 0
        self._calls, self._draining = 0, False
        self._idle = asyncio.Event()
        self._silent: dict[AdmittedCall, float] = {}  # since when; the longest silence comes first

    async def admit(self) -> None:
        """Wait until fewer than ``calls_max`` calls are under way, and begin a call.

        Raises ServerStopping once the server drains.
        """
        if not self._draining:
            await self._places.take()
        if self._draining:
            raise ServerStopping
        self._calls += 1

    async def drain(self) -> None:
        """Admit no more calls, and return once all calls under way have ended."""
        self._draining = True
        for places in (self._places, self._unannounced, *self._unannounced_of.values()):
            for _ in range(places.waiting):
                places.give()
        if self._calls:
            await self._idle.wait()

    @asynccontextmanager
    async def unannounced(self, holder: str | None) -> AsyncIterator[None]:
        """Context manager: wait for and hold one of the few places for messages of unknown size.

        The calls of one key hold a SHARE of them. Raises ServerStopping.
        """
        places = [self._unannounced]
        if holder is not None:
            places.insert(0, self._unannounced_of[holder])
        with ExitStack() as taken:
            for each in places:
                await each.take()
                taken.callback(each.give)
                if self._draining:
                    raise ServerStopping
            yield

    @contextmanager
    def late(self) -> Iterator[None]:
        """Context manager for a call that was not admitted while its message does not come.

        Such a message may be of any size until it has come. Raises ClientSilent if there are some.
        """
        if self._late == LATE_MAX:
            raise ClientSilent
        self._late += 1
        try:
            yield
        finally:
            self._late -= 1

    def reserve(self, call: AdmittedCall, size: int) -> None:
        """Have a call hold the bytes of a message of ``size`` in place of those that it holds.

        Raises TooLarge, Overloaded.
        """
        if size > self._bounds.message_bytes_max:
            raise TooLarge(size, self._bounds.message_bytes_max)
        if size > SMALL_BYTES:
            self._check_room(call, HOLDS * size)
        self._hold(call, HOLDS * size)

    def reserve_answer(self, call: AdmittedCall, size: int, *, may_refuse: bool) -> None:
        """Have a call hold the bytes of a large answer of ``size`` in place of its message.

        Raises Overloaded if it ``may_refuse``.
        """
        if may_refuse:
            self._check_room(call, ANSWER_HOLDS * size)
        self._hold(call, ANSWER_HOLDS * size)

    def _check_room(self, call: AdmittedCall, holds: int) -> None:
        """Raise Overloaded if there is no room for a call to hold so many bytes."""
        most = self._bounds.pending_bytes_max
        others = self._pending_bytes - call.held
        own = self._held_by[call.holder] - call.held
        if call.holder is not None and own and own + holds > SHARE * most:
            self._refused[call.holder] = holds, time.monotonic()
            raise Overloaded(int(SHARE * most), call.holder)
        if others and others + holds > most:
            self._refused[None] = holds, time.monotonic()
            raise Overloaded(most)

    def _hold(self, call: AdmittedCall, holds: int) -> None:
        self._pending_bytes += holds - call.held
        self._held_by[call.holder] += holds - call.held
        if not self._held_by[call.holder]:
            del self._held_by[call.holder]
        call.held = holds

    def release(self, call: AdmittedCall) -> None:
        """End a call that was admitted."""
        self._hold(call, 0)
        self._calls -= 1
        self._places.give()
        if not self._calls and self._draining:
            self._idle.set()

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Return what is under way at the moment: help and value by name."""
        return {
            "visual_memory_calls": ("Calls under way.", self._calls),
            "visual_memory_waiting_calls": ("Calls that wait for others.", self._places.waiting),
            "visual_memory_pending_bytes": (
                "Bytes that messages under way hold.",
                self._pending_bytes,
            ),
        }

    def note(self, call: AdmittedCall, *, silent: bool) -> None:
        """Record that a call waits for its client from now on if ``silent``, else no longer."""
        self._silent.pop(call, None)
        if silent:
            self._silent[call] = time.monotonic()

    async def watch(self) -> None:
        """End calls whose clients are silent for too long; run until cancelled.

        A call ends sooner if other calls wait for the place or bytes that its end would free.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for call in self.overdue(time.monotonic()):
                call.end_silent()

    def overdue(self, now: float) -> set[AdmittedCall]:
        """Return the calls that are silent for too long at ``now`` by ``time.monotonic``."""
        silent = {call: now - since for call, since in self._silent.items()}
        pressed = [call for call, seconds in silent.items() if seconds >= call.patience]
        unannounced = [call for call in pressed if call.unannounced]
        return {
            *(call for call, seconds in silent.items() if seconds >= self._most(call)),
            *pressed[: self._places.waiting],
            *unannounced[: self._unannounced.waiting],
            *(
                call
                for holder, places in self._unannounced_of.items()
                for call in of_holder(unannounced, holder)[: places.waiting]
            ),
            *(
                call
                for holder, (size, at) in self._refused.items()
                if now - at <= PRESSED_SECONDS
                for call in self._to_make_room(of_holder(pressed, holder), size, holder)
            ),
        }

    def _most(self, call: AdmittedCall) -> float:
        """Return the seconds after which a silent call is ended in any case."""
        return self._bounds.idle_seconds if call.idle_seconds is None else call.idle_seconds

    def _to_make_room(
        self, pressed: list[AdmittedCall], size: int, holder: str | None
    ) -> list[AdmittedCall]:
        """Return the largest ``pressed`` calls whose end makes room for a message that was refused.

        It was refused for what calls of its key hold, the ``holder``, or for what all hold if None.
        ``pressed`` calls are silent longer than their ``patience``. Returns none if all of them
        together would not free enough.
        """
        most = self._bounds.pending_bytes_max
        lacking = size + self._pending_bytes - most
        if holder is not None:
            lacking = size + self._held_by[holder] - int(SHARE * most)
        ended = []
        for call in sorted(pressed, key=lambda call: call.held, reverse=True):
            if lacking <= 0:
                break
            lacking -= call.held
            ended.append(call)
        return ended if lacking <= 0 else []


def of_holder(calls: Sequence[AdmittedCall], holder: str | None) -> list[AdmittedCall]:
    """Return the calls of a key; all if None."""
    return [call for call in calls if holder in (None, call.holder)]
