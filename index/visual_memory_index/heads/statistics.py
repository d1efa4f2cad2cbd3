"""The statistics that heads are fitted to: sums of integers, exact in whatever order.

They are a function of the set of voting entries alone. An entry that is added and removed again
leaves no bit behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.multiply import multiply

SCALE = 2.0**15  # of a vector's numbers, which are integers from −32768 to 32768 then
ROWS_AT_ONCE = 4096
COUNTED_PRODUCTS = 1 << 27  # of entries that are counted at once, while readers wait
SUMMED = 64  # products that take as long as adding a number to a sum

Integers = NDArray[np.int64]
Labels: TypeAlias = Sequence[str] | NDArray[np.object_]


def quantized(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return unit ``vectors`` (n, d) times ``SCALE``, rounded to integers in float64."""
    return np.rint(vectors.astype(np.float64) * SCALE)


class Statistics:
    """Count and sum of the vectors of each label, and the second moment of all vectors.

    ``sums`` has an int64 row (d,) for each label. ``moment`` is int64 (d, d), the sum of x·xᵀ over
    all vectors x, or None if it is not kept. All are of ``quantized`` vectors. Exact for up to 2²³
    entries.
    """

    def __init__(self, dimension: int, *, moment: bool) -> None:
        self.dimension = dimension
        self.counts: dict[str, int] = {}
        self.sums: dict[str, Integers] = {}
        self.moment = np.zeros((dimension, dimension), np.int64) if moment else None

    @property
    def at_once(self) -> int:
        """Number of entries that are added or removed in some hundredths of a second."""
        products = SUMMED if self.moment is None else self.dimension
        return max(1, COUNTED_PRODUCTS // (self.dimension * products))

    def add(self, labels: Labels, vectors: NDArray[np.float32]) -> None:
        """Add entries with their unit ``vectors`` (n, d)."""
        self._count(labels, vectors, 1)

    def remove(self, labels: Labels, vectors: NDArray[np.float32]) -> None:
        """Remove entries that were added with these labels and vectors (n, d)."""
        self._count(labels, vectors, -1)

    def relabel(self, old: str, new: str, vector: NDArray[np.float32]) -> None:
        """Move one entry's ``vector`` (d,) from its ``old`` label to a ``new`` one."""
        row = quantized(vector[np.newaxis]).astype(np.int64)[0]
        self._shift(old, -row, -1)
        self._shift(new, row, 1)

    def copy(self, *, moment: bool = True) -> Statistics:
        """Return statistics that change independently of these, perhaps without the ``moment``."""
        copy = Statistics(self.dimension, moment=False)
        copy.counts = dict(self.counts)
        copy.sums = {label: row.copy() for label, row in self.sums.items()}
        copy.moment = self.moment.copy() if moment and self.moment is not None else None
        return copy

    def _count(self, labels: Labels, vectors: NDArray[np.float32], sign: int) -> None:
        if not len(labels):
            return
        names, codes = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            rows, of_rows = (
                quantized(vectors[start : start + ROWS_AT_ONCE]),
                codes[start:][:ROWS_AT_ONCE],
            )
            order = np.argsort(of_rows, kind="stable")
            found, first, counts = np.unique(of_rows[order], return_index=True, return_counts=True)
            sums = np.add.reduceat(rows[order], first, axis=0).astype(np.int64)
            for code, count, row in zip(found.tolist(), counts.tolist(), sums, strict=True):
                self._shift(names[code], sign * row, sign * count)
            if self.moment is not None:
                self.moment += sign * multiply(rows.T, rows).astype(np.int64)

    def _shift(self, label: str, row: Integers, count: int) -> None:
        self.counts[label] = self.counts.get(label, 0) + count
        if label in self.sums:
            self.sums[label] += row
        else:
            self.sums[label] = row.copy()
        if not self.counts[label]:
            del self.counts[label], self.sums[label]
