"""Limits of one caller: what it may have under way at once, and what it may use a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from visual_memory_service.errors import LimitReached

CALLS, STREAMS, IDLE_SECONDS = "calls", "streams", "idle_seconds"
CALLS_PER_SECOND, BYTES = "calls_per_second", "bytes_per_second"
NEIGHBORS, PIXELS = "neighbors_per_second", "pixels_per_second"
RATES = (CALLS_PER_SECOND, BYTES, NEIGHBORS, PIXELS)
LIMITS = (CALLS, STREAMS, *RATES, IDLE_SECONDS)
KINDS = {False: (CALLS,), True: (CALLS, STREAMS)}  # of calls, by whether they are streams
LIMIT_MIN, LIMIT_MAX = 1e-3, 1e15
OF_MESSAGES = frozenset({BYTES, PIXELS})
STREAM_SECONDS_MAX = 20.0  # that a stream waits, less than clients wait for an answer
PAUSE_SECONDS = 0.5
REFUSALS_PER_SECOND, STRANGERS_PER_SECOND = 50.0, 200.0
PACE_BURST_SECONDS, PACE_SECONDS_MAX = 1.0, 10.0
AGAIN_SECONDS = 0.1  # after a refusal for what is under way, whose end nobody knows

Clock = Callable[[], float]


class BadLimit(ValueError):
    """A text that is no limit; the message says why."""


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Return limits by name, of texts such as ``calls=32``. Raises BadLimit."""
    limits: dict[str, float] = {}
    for text in texts:
        name, given, number = text.partition("=")
        if name not in LIMITS or not given:
            names = ", ".join(LIMITS)
            raise BadLimit(f"must be NAME=NUMBER, with a NAME of {names}, but is {text!r:.80}")
        try:
            limit = float(number)
        except ValueError:
            limit = 0.0
        if not LIMIT_MIN <= limit <= LIMIT_MAX:
            raise BadLimit(
                f"must have a number of at least {LIMIT_MIN:g} after {name}=, but is {text!r:.80}"
            )
        limits[name] = limit
    return limits


class Rate:
    """What may be used a second, of which a second's worth may be used at once.

    A use may exceed what is left; then there is a debt, and nothing more is to be used until it is
    paid.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second, self._clock = per_second, clock
        self._left, self._at = per_second, clock()

    def use(self, amount: float) -> None:
        """Use some."""
        self._left = self._now() - amount

    def debt_seconds(self) -> float:
        """Return after how many seconds there is no debt, 0 if there is none."""
        return max(0.0, -self._now() / self._per_second)

    def _now(self) -> float:
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._per_second, self._per_second)
        self._at = now
        return self._left


class Pace:
    """Slots for refusals, so many a second: a caller who is refused all the time costs little.

    A second's worth of slots is free at once; whoever comes then waits for the next one, but not
    for long.
    """

    def __init__(self, per_second: float, clock: Clock = time.monotonic) -> None:
        self._each, self._clock = 1 / per_second, clock
        self._next = 0.0

    def seconds(self) -> float:
        """Take a slot, and return how long to wait for it."""
        now = self._clock()
        following = max(self._next, now - PACE_BURST_SECONDS) + self._each
        self._next = min(following, now + PACE_SECONDS_MAX)  # or it would outlast the callers
        return max(0.0, self._next - now)


class Account:
    """What all calls of a caller use of its limits; what these do not name is not limited."""

    def __init__(
        self, name: str, limits: Mapping[str, float], clock: Clock = time.monotonic
    ) -> None:
        self._name, self._clock = name, clock
        self._under_way = {CALLS: 0, STREAMS: 0}
        self.refusals = Pace(REFUSALS_PER_SECOND, clock)
        self._limits: Mapping[str, float] = {}
        self._rates: dict[str, Rate] = {}
        self.limit(limits)

    def limit(self, limits: Mapping[str, float]) -> None:
        """Take other limits from now on, which forgives debts, unless they are those of before."""
        if limits == self._limits:
            return
        self._limits = limits
        self._rates = {name: Rate(limits[name], self._clock) for name in RATES if name in limits}

    @property
    def idle_seconds(self) -> float | None:
        """How long its client may be silent in a call; None if as long as all others."""
        return self._limits.get(IDLE_SECONDS)

    def begin(self, *, stream: bool) -> None:
        """Count a call as under way, until ``end``. Raises LimitReached."""
        counted = KINDS[stream]
        for name in counted if self._limits else ():
            most = self._limits.get(name)
            if most is not None and self._under_way[name] >= most:
                raise LimitReached(self._name, name, most, AGAIN_SECONDS)
        for name, rate in self._rates.items():
            if seconds := rate.debt_seconds():
                raise LimitReached(self._name, name, self._limits[name], seconds)
        self.use(CALLS_PER_SECOND, 1)
        for name in counted:
            self._under_way[name] += 1

    def end(self, *, stream: bool) -> None:
        """End a call that has begun."""
        for name in KINDS[stream]:
            self._under_way[name] -= 1

    def limits_rate(self, name: str) -> bool:
        """Return True if the rate of this name is limited."""
        return name in self._rates

    def use(self, name: str, amount: float) -> None:
        """Use some of the rate of this name."""
        if (rate := self._rates.get(name)) is not None:
            rate.use(amount)

    def use_without_debt(self, name: str, amount: float) -> None:
        """Use some of a rate, unless another call has made debts since this one has begun.

        Raises LimitReached.
        """
        if (rate := self._rates.get(name)) is None:
            return
        if seconds := rate.debt_seconds():
            raise LimitReached(self._name, name, self._limits[name], seconds)
        rate.use(amount)

    async def wait(self) -> bool:
        """Wait for a moment if there is a debt of what messages use; return True if there was one.

        Raises LimitReached if it takes more than STREAM_SECONDS_MAX to pay.
        """
        debts = {name: self._rates[name].debt_seconds() for name in OF_MESSAGES & {*self._rates}}
        if not any(debts.values()):
            return False
        name = max(debts, key=debts.__getitem__)
        if debts[name] > STREAM_SECONDS_MAX:
            raise LimitReached(self._name, name, self._limits[name], debts[name])
        await asyncio.sleep(min(debts[name], PAUSE_SECONDS))
        return True
