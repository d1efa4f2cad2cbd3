"""Timeline of a call: its parts, for the log of slow calls and for traces.

A call has one only where somebody wants to know; else ``part`` does nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple

PARTS_MAX = 100  # of a call: a stream may go on for hours
NOTHING = nullcontext()


@dataclass(eq=False, slots=True)
class Batch:
    """A search for several calls together: when it began and ended, and its number of queries.

    Traces keep its ``span`` here.
    """

    began: float
    ended: float
    queries: int
    span: object = None


@dataclass(eq=False, slots=True)
class Part:
    """A part of a call, of this name, from when it ``began`` until it ``ended``.

    Times are those of ``time.monotonic``. A search that was done for several calls together is
    in their ``batch``.
    """

    timeline: Timeline
    name: str
    began: float = 0.0
    ended: float = 0.0
    batch: Batch | None = None

    def __enter__(self) -> Part:
        self.began = monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = monotonic()
        self.timeline.add(self)


@dataclass(eq=False, slots=True)
class Timeline:
    """The parts of one call, in the order in which they ended; there may be more than are kept."""

    parts: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Add a part that has ended."""
        if len(self.parts) < PARTS_MAX:
            self.parts.append(part)

    def milliseconds(self) -> dict[str, float]:
        """Return how long the parts of each name took together."""
        sums: dict[str, float] = {}
        for each in self.parts:
            sums[each.name] = sums.get(each.name, 0.0) + 1000 * (each.ended - each.began)
        return {name: round(sum, 1) for name, sum in sums.items()}


class Ended(NamedTuple):
    """A call that has ended: its name, times, gRPC code, caller, timeline and metadata."""

    full_name: str
    began: float
    ended: float
    status: str
    principal: str
    timeline: Timeline
    metadata: Sequence[tuple[str, str | bytes]]


timeline: ContextVar[Timeline | None] = ContextVar("timeline", default=None)  # of the call


@dataclass(frozen=True, slots=True)
class Watch:
    """Who wants to know of calls: the log of those that took ``slow_seconds``, and ``trace``."""

    slow_seconds: float = math.inf
    trace: Callable[[Ended], None] | None = None


def part(name: str) -> AbstractContextManager[Any]:
    """Return a context manager whose block is a part of the call under way."""
    found = timeline.get()
    return NOTHING if found is None else Part(found, name)


def add_part(name: str, began: float) -> None:
    """Add a part of the call under way, from when it ``began`` until now."""
    if (found := timeline.get()) is not None:
        found.add(Part(found, name, began, monotonic()))


def part_adder(name: str, most: int) -> Callable[[float], None] | None:
    """Return what adds such parts from any thread, but few of many; None if nobody wants them.

    It is called at the end of a part, with the time at which that began.
    """
    if (found := timeline.get()) is None:
        return None
    left = iter(range(most))

    def add(began: float) -> None:
        if next(left, None) is not None:
            found.add(Part(found, name, began, monotonic()))

    return add
