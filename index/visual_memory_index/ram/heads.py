"""The heads that were fitted to the present entries of a copy in RAM."""

from __future__ import annotations

import threading
from collections.abc import Callable

from visual_memory_index.heads.head import Head, fit
from visual_memory_index.heads.statistics import Statistics

KEPT_MAX = 2


class Heads:
    """Heads by ridge, the two fitted last; a change of the entries clears them.

    A head of entries that were deleted is not kept: it could tell of them.
    """

    def __init__(self) -> None:
        self._revision = -1
        self._kept: dict[float | None, Head] = {}
        self._copies: dict[bool, Statistics] = {}  # with the moment or without, to fit from
        self._guard, self._turn = threading.Lock(), threading.Lock()

    def clear(self) -> None:
        """Drop all heads, as the entries have changed."""
        with self._guard:
            self._begin(-1)

    def fitting(
        self, revision: int, ridge: float | None, statistics: Statistics
    ) -> Callable[[], Head]:
        """Return a function that returns the head of these ``statistics``, perhaps fitted before.

        The caller keeps the entries from changing until this returns; the function needs no lock.
        It raises the errors of ``fit``.
        """
        moment = ridge is not None
        with self._guard:
            if self._revision != revision:
                self._begin(revision)
            if (kept := self._kept.get(ridge)) is not None:
                return lambda: kept
            if (own := self._copies.get(moment)) is None:
                own = self._copies[moment] = statistics.copy(moment=moment)

        def fitted() -> Head:
            with self._turn:
                if (found := self._current(revision, ridge)) is None:
                    found = fit(own, ridge)
                    self._keep(revision, ridge, found)
            return found

        return fitted

    def _begin(self, revision: int) -> None:
        self._kept.clear()
        self._copies.clear()
        self._revision = revision

    def _current(self, revision: int, ridge: float | None) -> Head | None:
        with self._guard:
            return self._kept.get(ridge) if self._revision == revision else None

    def _keep(self, revision: int, ridge: float | None, head: Head) -> None:
        with self._guard:
            if self._revision == revision:
                self._copies.pop(ridge is not None, None)
                self._kept[ridge] = head
                if len(self._kept) > KEPT_MAX:
                    del self._kept[next(iter(self._kept))]
