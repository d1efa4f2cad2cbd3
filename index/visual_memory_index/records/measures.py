"""Measures of a process: counters and histograms of what its parts do, for whoever reads them.

Names, units and labels follow the guidelines of Prometheus. Threads may share them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

SECONDS = tuple(base * 10.0**power for power in range(-4, 2) for base in (1.0, 2.5, 5.0))
POWERS = tuple(float(1 << power) for power in range(11))

Labels = tuple[str, ...]


class Sample(NamedTuple):
    """How many values there were up to each bound and beyond the last, and the sum of all."""

    counts: tuple[int, ...]
    sum: float


class Counter:
    """What only grows, by the values of its ``labels``; ``name`` is that of its unit."""

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, amount: float = 1.0, *labels: str) -> None:
        """Add an amount that is not negative."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    def read(self) -> dict[Labels, float]:
        """Return the value of each combination of labels until now."""
        with self._lock:
            return dict(self._values)


class Histogram:
    """How often values up to each of its ``bounds`` came, by the values of its ``labels``."""

    def __init__(self, name: str, help: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.bounds = tuple(bounds)
        self._lock = threading.Lock()
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not labels:
            self._begin(())

    def _begin(self, labels: Labels) -> list[int]:
        self._sums[labels] = 0.0
        return self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))

    def add(self, value: float, *labels: str) -> None:
        """Count a value."""
        at = bisect_left(self.bounds, value)
        with self._lock:
            counts = self._counts.get(labels) or self._begin(labels)
            counts[at] += 1
            self._sums[labels] += value

    @contextmanager
    def timed(self, *labels: str) -> Iterator[None]:
        """Context manager: count the seconds of the block, also if it raises."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(perf_counter() - began, *labels)

    def read(self) -> dict[Labels, Sample]:
        """Return the counts and the sum of each combination of labels until now."""
        with self._lock:
            return {
                labels: Sample(tuple(counts), self._sums[labels])
                for labels, counts in self._counts.items()
            }


COMMIT_SECONDS = Histogram(
    "visual_memory_commit_seconds", "Time of a transaction until it was on the disk.", SECONDS
)
COMMIT_WRITES = Histogram(
    "visual_memory_commit_writes", "Writes that shared a transaction.", POWERS[:7]
)
SCANNED_ROWS = Counter(
    "visual_memory_scanned_rows_total", "Rows whose codes were compared with a query."
)
KEPT_ROWS = Counter(
    "visual_memory_kept_rows_total", "Rows of which codes did not prove that they are too far."
)
MEASURED_ROWS = Counter(
    "visual_memory_measured_rows_total", "Rows whose distance from a query was computed."
)
MEASURES = (COMMIT_SECONDS, COMMIT_WRITES, SCANNED_ROWS, KEPT_ROWS, MEASURED_ROWS)
