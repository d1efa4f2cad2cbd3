"""The rows of a copy in RAM that are counted in statistics, to which heads are fitted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import HeadTooLarge
from visual_memory_index.heads.head import Head, check_size, fit
from visual_memory_index.heads.statistics import Statistics
from visual_memory_index.ram.columns import Columns
from visual_memory_index.ram.heads import Heads
from visual_memory_index.ram.labels import Factorized
from visual_memory_index.rows.rows import Rows, moves
from visual_memory_index.scan.vectors import VectorIndex

COPIED_MAX = 1 << 26  # numbers of the vectors that one head is fitted to or without, in 256 MB
RELABELLED_AT_ONCE = 4096  # rows whose vectors are copied
UNCOUNTED_PARTS = 8  # of rows that are counted while readers wait
RECOUNTED = 8  # times the rows removed, to be counted anew instead


class CountedRows:
    """The ``statistics`` of the first ``count`` rows, given by their ``columns`` and ``vectors``.

    They are None until a head is wanted, and complete once all rows are counted. ``head`` may run
    beside other readers; all else needs exclusive access.
    """

    def __init__(self, columns: Columns, vectors: VectorIndex) -> None:
        self._columns, self._vectors = columns, vectors
        self.statistics: Statistics | None = None
        self.count = 0
        self.heads = Heads()

    def keep(self, *, moment: bool) -> None:
        """Begin to keep statistics, unless they are kept already with what is wanted."""
        if self.statistics is None or (moment and self.statistics.moment is None):
            self.statistics, self.count = Statistics(self._vectors.dimension, moment=moment), 0

    def drop(self) -> None:
        """Keep no statistics any more."""
        self.statistics, self.count = None, 0

    def has(self, *, moment: bool) -> bool:
        """Return True if all rows are counted in statistics, perhaps with their ``moment``."""
        kept = self.statistics
        wanted = kept is not None and (kept.moment is not None or not moment)
        return wanted and self.count == len(self._columns)

    def go_on(self, most: int | None = None) -> bool:
        """Count up to ``most`` further rows in the statistics; return True if all are counted.

        Without ``most`` these are so few that readers can wait.
        """
        if self.statistics is not None:
            most = self.statistics.at_once if most is None else most
            rows = np.arange(self.count, min(len(self._columns), self.count + most))
            self.statistics.add(self._columns.labels(rows), self._vectors.gather(rows))
            self.count += len(rows)
        return self.count == len(self._columns)

    def head(self, rows: Rows | None, left_out: Rows, ridge: float | None) -> Callable[[], Head]:
        """Return a function that fits a head to these ``rows``, or to all rows but ``left_out``.

        It needs no lock, and raises the errors of ``fit``, and HeadTooLarge for very many ``rows``.
        Without rows, all are counted in the statistics, with the second moment for a ``ridge``.
        """
        moment, dimension = ridge is not None, self._vectors.dimension
        named = left_out if rows is None else rows
        if too_many(len(named), dimension):
            return partial(refuse_rows, len(named), dimension)
        labels = self._columns.labels(named)
        if rows is not None:
            try:
                check_size(len(set(labels.tolist())), dimension, moment=moment)
            except HeadTooLarge as refusal:
                return partial(refuse, refusal)
            own = Statistics(dimension, moment=moment)
            return partial(fit_after, own.add, labels, self._vectors.gather(rows), own, ridge)
        assert self.statistics is not None
        if not len(left_out):
            return self.heads.fitting(ridge, self.statistics)
        own = self.statistics.copy(moment=moment)
        vectors = self._vectors.gather(left_out)
        return partial(fit_after, own.remove, labels, vectors, own, ridge)

    def remove(self, rows: Rows) -> None:
        """Remove ``rows`` from the statistics, before others move to their places, see ``moves``.

        A row that was not counted may move among those that are. Where rows that would hold up
        readers are no small part, those left are counted anew at the next use instead.
        """
        if self.statistics is None:
            return
        if self.hold_up(len(rows)):
            self.drop()
            return
        start, end = moves(len(self._columns), rows)
        gone = rows[rows < self.count]
        self.statistics.remove(self._columns.labels(gone), self._vectors.gather(gone))
        come = start[(start >= self.count) & (end < self.count)]
        self.statistics.add(self._columns.labels(come), self._vectors.gather(come))
        self.count = min(self.count, len(self._columns) - len(rows))

    def hold_up(self, removed: int) -> bool:
        """Return True if rows are counted anew, rather than so many taken from the statistics."""
        assert self.statistics is not None
        held_up = removed > UNCOUNTED_PARTS * self.statistics.at_once
        return held_up and len(self._columns) < RECOUNTED * removed

    def relabel(self, rows: Rows, labels: Factorized) -> None:
        """Give ``rows`` other ``labels`` in the statistics, before they have them."""
        if self.statistics is None:
            return
        if self.hold_up(len(rows)):
            self.drop()
            return
        new = labels.of_rows()
        for start in range(0, len(rows), RELABELLED_AT_ONCE):
            part = rows[start : start + RELABELLED_AT_ONCE]
            known, to = part[part < self.count], new[start : start + len(part)][part < self.count]
            before, vectors = self._columns.labels(known), self._vectors.gather(known)
            for one, other, vector in zip(before, to, vectors, strict=True):
                self.statistics.relabel(one, other, vector)


def too_many(count: int, dimension: int) -> bool:
    """Return True if the vectors of ``count`` entries may not be copied for one query."""
    return count * dimension > COPIED_MAX


def refuse(refusal: HeadTooLarge) -> Head:
    """Raise a refusal in the place of a head."""
    raise refusal


def refuse_rows(count: int, dimension: int) -> Head:
    """Raise HeadTooLarge for ``count`` entries that would have to be counted for one query."""
    most = f"{COPIED_MAX // dimension:,} entries of dimension {dimension:,} at most by a filter"
    raise HeadTooLarge(f"{most}, or left out or changed by a request", f"{count:,}")


def fit_after(
    count: Callable[[NDArray[np.object_], NDArray[np.float32]], None],
    labels: NDArray[np.object_],
    vectors: NDArray[np.float32],
    statistics: Statistics,
    ridge: float | None,
) -> Head:
    """Fit a head to ``statistics``, after ``count`` has added or removed entries."""
    count(labels, vectors)
    return fit(statistics, ridge)
