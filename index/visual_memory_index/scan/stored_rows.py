"""Vectors that are kept outside RAM, in rows without gaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.distances import Distances, distances_of_pairs
from visual_memory_index.rows.rows import Rows
from visual_memory_index.scan.vectors import ReadRows

READ_AT_ONCE = 4096


class StoredRows:
    """Unit vectors that ``read`` returns; only their number is kept here."""

    def __init__(self, dimension: int, read: ReadRows) -> None:
        self.dimension, self.gather = dimension, read
        self.count = 0

    def reserve(self, count: int) -> None:
        """Do nothing: there is room."""

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Count ``vectors`` (b, d) that ``read`` returns as the rows after the last."""
        self.grow(len(vectors))

    def grow(self, count: int) -> None:
        """Count so many more."""
        self.count += count

    def remove(self, rows: Rows) -> None:
        """Count ``rows`` no more: ``read`` returns others in their places, as ``moves`` says."""
        self.count -= len(rows)

    def close(self) -> None:
        """Do nothing: nothing is kept."""

    def distances(self, queries: NDArray[np.float32], numbers: Rows, rows: Rows) -> Distances:
        """Return ``distances_of_pairs`` of queries[numbers] to these ``rows``: float64 (m,)."""
        distances = np.empty(len(rows))
        for start in range(0, len(rows), READ_AT_ONCE):
            part = slice(start, start + READ_AT_ONCE)
            vectors = self.gather(rows[part])
            places = np.arange(len(vectors))
            distances[part] = distances_of_pairs(queries, numbers[part], vectors, places)
        return distances

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all rows, as arrays in order."""
        for start in range(0, self.count, READ_AT_ONCE):
            yield self.gather(np.arange(start, min(self.count, start + READ_AT_ONCE)))
