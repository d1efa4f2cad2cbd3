"""Vectors in RAM, in rows without gaps."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.scan.vectors import Rows, moves

BLOCK_BYTES = 1 << 26  # scanning 100,000 × 768 in blocks of 50 to 100 MB: 5 to 9 % over one piece
MOVED_AT_ONCE = 1024


def fresh_block(rows: int, dimension: int) -> NDArray[np.float32]:
    """Return rows of zeros that take no memory until they are written.

    They are mapped here, since the C library would write them first, and in large pages if the
    system has them, as NumPy asks for: a scan reads all of them.
    """
    room = mmap.mmap(-1, 4 * rows * dimension)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        room.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(room, dtype=np.float32).reshape(rows, dimension)


class Blocks:
    """Unit vectors float32 (m, d) without gaps: when rows are removed, the last take their places.

    Rows are in blocks of fixed size, so growing copies nothing, and a removed row is zeroed.
    """

    def __init__(self, dimension: int, block_rows: int | None = None) -> None:
        self.dimension = dimension
        self.count = 0
        self._block_rows = block_rows or max(1024, BLOCK_BYTES // (4 * dimension))
        self._blocks: list[NDArray[np.float32]] = []

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows, in memory pages that the system has already provided."""
        while len(self._blocks) * self._block_rows < count:
            self._blocks.append(fresh_block(self._block_rows, self.dimension))
        for number, block in enumerate(self._blocks):
            start = number * self._block_rows
            block[max(0, self.count - start) : max(0, count - start), 0] = 0.0

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add ``vectors`` (b, d) behind the last row."""
        self.reserve(self.count + len(vectors))
        written = 0
        while written < len(vectors):
            block, row = divmod(self.count + written, self._block_rows)
            part = vectors[written : written + self._block_rows - row]
            self._blocks[block][row : row + len(part)] = part
            written += len(part)
        self.count += len(vectors)

    def remove(self, rows: Rows) -> None:
        """Remove ascending ``rows``; the last rows take their places, as ``moves`` says.

        Rows that get free are zeroed. Takes O(d) a row.
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

    def blocks(self) -> list[NDArray[np.float32]]:
        """Return all rows, as arrays in order."""
        return [block for _, block in self.filled()]

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ``rows`` into one array: float32 (len(rows), d)."""
        gathered = np.empty((len(rows), self.dimension), dtype=np.float32)
        of_block = rows // self._block_rows
        for number, block in enumerate(self._blocks):
            inside = of_block == number
            gathered[inside] = block[rows[inside] - number * self._block_rows]
        return gathered

    def _put(self, rows: Rows, vectors: NDArray[np.float32]) -> None:
        of_block = rows // self._block_rows
        for number, block in enumerate(self._blocks):
            inside = of_block == number
            block[rows[inside] - number * self._block_rows] = vectors[inside]

    def filled(self) -> list[tuple[int, NDArray[np.float32]]]:
        """Return the number of the first row and the filled part of each block."""
        starts = range(0, self.count, self._block_rows)
        return [
            (start, block[: self.count - start])
            for start, block in zip(starts, self._blocks, strict=False)
        ]
