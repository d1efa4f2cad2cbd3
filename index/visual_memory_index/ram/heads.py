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
        self._guard, self._turn = threading.Lock(), threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Drop all heads, as the entries have changed; those being fitted are not kept."""
        with self._guard:
            self._kept: dict[float | None, Head] = {}
            self._copies: dict[bool, Statistics] = {}  # with the moment or without, to fit from

    def fitting(self, ridge: float | None, statistics: Statistics) -> Callable[[], Head]:
        """Return a function that returns the head of these ``statistics``, perhaps fitted before.

        The caller keeps the entries from changing until this returns; the function needs no lock.
        It raises the errors of ``fit``.
        """
        moment = ridge is not None
        with self._guard:
            kept, copies = self._kept, self._copies  # of these entries: ``clear`` makes others
            if (found := kept.get(ridge)) is not None:
                return lambda: found
            if (own := copies.get(moment)) is None:
                own = copies[moment] = statistics.copy(moment=moment)

        def fitted() -> Head:
            with self._turn:
                if (head := kept.get(ridge)) is None:
                    head = fit(own, ridge)
                    with self._guard:
                        copies.pop(moment, None)
                        kept[ridge] = head
                        if len(kept) > KEPT_MAX:
                            del kept[next(iter(kept))]
            return head

        return fitted
