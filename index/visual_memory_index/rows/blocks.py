"""Vectors in RAM, in rows without gaps."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.distances import Distances, distances_of_pairs
from visual_memory_index.rows.rows import Rows, distinct, moves

BLOCK_BYTES = 1 << 26  # scanning 100,000 × 768 in blocks of 50 to 100 MB: 5 to 9 % over one piece
MOVED_AT_ONCE = 1024
LARGE_PAGE = 1 << 21

T = TypeVar("T", bound=np.generic)


def fresh(shape: tuple[int, ...], kind: type[T]) -> NDArray[T]:
    """Return an array of zeros that takes no memory until it is written.

    It is mapped by ``mmap`` because the C library would write it first. Beyond its beginning the
    system is asked for large pages, as NumPy asks for its arrays, since a scan reads all rows.

    Raises MemoryError.
    """
    size = math.prod(shape) * np.dtype(kind).itemsize
    try:
        room = mmap.mmap(-1, size)
    except OSError as error:  # ENOMEM: there is no file
        raise MemoryError from error
    if hasattr(mmap, "MADV_HUGEPAGE") and size > LARGE_PAGE:
        room.madvise(mmap.MADV_HUGEPAGE, LARGE_PAGE, size - LARGE_PAGE)
    return np.frombuffer(room, dtype=kind).reshape(shape)


def by_block(rows: Rows, block_rows: int) -> Iterator[tuple[int, Rows | slice]]:
    """Yield each block that has some of ``rows``, with the positions of these in ``rows``."""
    if not len(rows):
        return
    first, last = (int(row) // block_rows for row in (rows.min(), rows.max()))
    if first == last:
        yield first, slice(None)
        return
    of_block = rows // block_rows
    for number in distinct(of_block).tolist():
        yield number, np.flatnonzero(of_block == number)


class Blocks:
    """Unit vectors float32 (m, d), one per row, without gaps: the last rows replace removed rows.

    Rows are in blocks of fixed size, so growing copies nothing. Rows at the end that become unused
    are zeroed.
    """

    def __init__(self, dimension: int, block_rows: int | None = None) -> None:
        self.dimension = dimension
        self.count = 0
        self._block_rows = block_rows or max(1024, BLOCK_BYTES // (4 * dimension))
        self._blocks: list[NDArray[np.float32]] = []

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows in all, in memory pages that the system has provided."""
        while len(self._blocks) * self._block_rows < count:
            self._blocks.append(fresh((self._block_rows, self.dimension), np.float32))
        for number, block in enumerate(self._blocks):
            start = number * self._block_rows
            block[max(0, self.count - start) : max(0, count - start), 0] = 0.0

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add ``vectors`` (b, d) after the last row."""
        self.reserve(self.count + len(vectors))
        written = 0
        while written < len(vectors):
            block, row = divmod(self.count + written, self._block_rows)
            part = vectors[written : written + self._block_rows - row]
            self._blocks[block][row : row + len(part)] = part
            written += len(part)
        self.count += len(vectors)

    def remove(self, rows: Rows) -> None:
        """Remove ascending ``rows``; the last rows move to their places, as ``moves`` describes.

        Rows that become unused are zeroed. Takes O(d) a row.
        """
        start, end = moves(self.count, rows)
        for at in range(0, len(start), MOVED_AT_ONCE):
            self._put(end[at : at + MOVED_AT_ONCE], self.gather(start[at : at + MOVED_AT_ONCE]))
        left = self.count - len(rows)
        for first, block in self.filled():
            block[max(0, left - first) :] = 0.0
        self.count = left
        while (len(self._blocks) - 1) * self._block_rows > self.count:
            self._blocks.pop()

    def close(self) -> None:
        """Give back the memory of all rows."""
        self.count = 0
        self._blocks.clear()

    def blocks(self) -> list[NDArray[np.float32]]:
        """Return all rows, as arrays in order."""
        return [block for _, block in self.filled()]

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ``rows`` into one array: float32 (len(rows), d)."""
        gathered = np.empty((len(rows), self.dimension), dtype=np.float32)
        for number, inside in by_block(rows, self._block_rows):
            gathered[inside] = self._blocks[number][rows[inside] - number * self._block_rows]
        return gathered

    def distances(self, queries: NDArray[np.float32], numbers: Rows, rows: Rows) -> Distances:
        """Return ``distances_of_pairs`` of queries[numbers] to these ``rows``: float64 (m,)."""
        distances = np.empty(len(rows))
        for number, inside in by_block(rows, self._block_rows):
            places = rows[inside] - number * self._block_rows
            block = self._blocks[number]
            distances[inside] = distances_of_pairs(queries, numbers[inside], block, places)
        return distances

    def _put(self, rows: Rows, vectors: NDArray[np.float32]) -> None:
        for number, inside in by_block(rows, self._block_rows):
            self._blocks[number][rows[inside] - number * self._block_rows] = vectors[inside]

    def filled(self) -> list[tuple[int, NDArray[np.float32]]]:
        """Return for each block the number of its first row, and the part of it that is used."""
        starts = range(0, self.count, self._block_rows)
        return [
            (start, block[: self.count - start])
            for start, block in zip(starts, self._blocks, strict=False)
        ]
