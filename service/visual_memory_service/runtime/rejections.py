"""Rejections of the last queries of a memory, in RAM alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from visual_memory_index.votes.drift import WINDOW


class Rejections:
    """Rejections or not, by one calibration, of each of the last queries, ``WINDOW`` at most.

    A calibration is named by a number that is higher than those of the memory's earlier ones.
    Nothing else of a query is kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calibration = -1
        self._rejected = deque[bool](maxlen=WINDOW)

    def add(self, calibration: int, rejected: Iterable[bool]) -> None:
        """Add queries in order; forget those that an earlier calibration judged."""
        with self._lock:
            if self._calibration < calibration:
                self._calibration = calibration
                self._rejected.clear()
            if self._calibration == calibration:
                self._rejected.extend(rejected)

    def counts(self, calibration: int) -> tuple[int, int]:
        """Return how many of the last queries a calibration judged, and how many it rejected."""
        with self._lock:
            judged = self._rejected if self._calibration == calibration else ()
            return len(judged), sum(judged)
