"""Codes of vectors in RAM, in blocks of groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes import kernels
from visual_memory_index.codes.codes import (
    NUMBERS,
    Codes,
    Rotation,
    bytes_of,
    chunks_of,
    encode,
    encode_rows,
    packed,
    unpacked,
)
from visual_memory_index.codes.groups import CHUNK, GROUP
from visual_memory_index.rows.blocks import by_block, fresh
from visual_memory_index.rows.compiled import read_only
from visual_memory_index.rows.rows import Rows, moves

BLOCK_ROWS = 1 << 17
MOVED_AT_ONCE = 1024
TRACED = 64  # numbers of a turned vector, which are searched for after an unlearning


class Block(NamedTuple):
    """The codes of some rows, see ``Codes``, in groups of 16.

    ``upper`` halves are uint8 (groups, chunks, 16, 4), ``lower`` ones (rows, 4 · chunks), the
    ``numbers`` float32 (groups, 6, 16).
    """

    upper: NDArray[np.uint8]
    lower: NDArray[np.uint8]
    numbers: NDArray[np.float32]


class Planes:
    """The codes of unit vectors (m, d), one per row, without gaps; ``moves`` describes removals.

    Nothing here depends on more than one vector, and what is removed is zeroed.
    """

    def __init__(self, dimension: int, block_rows: int | None = None) -> None:
        self.count, self.rotation = 0, Rotation(dimension)
        self._chunks, self.code_bytes = chunks_of(dimension), bytes_of(dimension)
        self.block_rows = max(1, (block_rows or BLOCK_ROWS) // GROUP) * GROUP
        self.blocks: list[Block] = []

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows in all, in memory pages that the system has provided."""
        while len(self.blocks) * self.block_rows < count:
            groups, size = self.block_rows // GROUP, 4 * self._chunks * self.block_rows
            lower = fresh((size + CHUNK,), np.uint8)[:size]  # as more than the last row is read
            self.blocks.append(
                Block(
                    fresh((groups, self._chunks, GROUP, 4), np.uint8),
                    lower.reshape(self.block_rows, -1),
                    fresh((groups, NUMBERS, GROUP), np.float32),
                )
            )
        for number, block in enumerate(self.blocks):
            start, end = (max(0, each - number * self.block_rows) for each in (self.count, count))
            whole = slice(-(-start // GROUP), -(-end // GROUP))  # the others have their pages
            block.upper[whole], block.lower[start:end], block.numbers[whole] = 0, 0, 0.0

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add the codes of ``vectors`` (b, d) after the last row."""
        for start in range(0, len(vectors), MOVED_AT_ONCE):
            part = vectors[start : start + MOVED_AT_ONCE]
            self._append(encode_rows(part, self.rotation))

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the codes of ``vectors`` (b, d), packed: (b, ``code_bytes``)."""
        return packed(encode_rows(vectors, self.rotation))

    def append_codes(self, codes: NDArray[np.uint8]) -> None:
        """Add ``codes`` (b, ``code_bytes``), packed, after the last row."""
        self._append(unpacked(codes))

    def codes(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the codes of ``rows``, packed: (len(rows), ``code_bytes``)."""
        return packed(self._get(rows))

    def _append(self, codes: Codes) -> None:
        start, end = self.count, self.count + len(codes.lower)
        self.reserve(end)
        self._put(np.arange(start, end), codes)
        self.count = end

    def close(self) -> None:
        """Give back the memory of all codes."""
        self.count = 0
        self.blocks.clear()

    def remove(self, rows: Rows) -> None:
        """Remove ascending ``rows``; the last rows move to their places, as ``moves`` describes."""
        start, end = moves(self.count, rows)
        for at in range(0, len(start), MOVED_AT_ONCE):
            self._put(end[at : at + MOVED_AT_ONCE], self._get(start[at : at + MOVED_AT_ONCE]))
        left = self.count - len(rows)
        for first in range(left, self.count, MOVED_AT_ONCE):
            unused = np.arange(first, min(self.count, first + MOVED_AT_ONCE))
            self._put(unused, nothing(len(unused), self._chunks))
        self.count = left
        while (len(self.blocks) - 1) * self.block_rows > self.count:
            self.blocks.pop()

    def traces(self, vectors: NDArray[np.float32]) -> Iterator[bytes]:
        """Yield of each of ``vectors`` (n, d) the first numbers as it is turned, and its code."""
        for start in range(0, len(vectors), MOVED_AT_ONCE):
            turned = self.rotation(vectors[start : start + MOVED_AT_ONCE])
            codes = encode(turned)
            for row, vector in enumerate(turned.T):
                begins = vector[:TRACED]
                yield from (each.tobytes() for each in (begins, codes.upper[row], codes.lower[row]))

    def _put(self, rows: Rows, codes: Codes) -> None:
        for number, inside in by_block(rows, self.block_rows):
            block, places = self.blocks[number], rows[inside] - number * self.block_rows
            upper, numbers = read_only(codes.upper[inside]), read_only(codes.numbers[:, inside].T)
            kernels.put(upper.view(np.uint32)[..., 0], places, block.upper.view(np.uint32)[..., 0])
            block.lower[places] = codes.lower[inside].reshape(len(places), -1)
            kernels.put(numbers.view(np.uint32), places, block.numbers.view(np.uint32))

    def _get(self, rows: Rows) -> Codes:
        codes = nothing(len(rows), self._chunks)
        for number, inside in by_block(rows, self.block_rows):
            block, places = self.blocks[number], rows[inside] - number * self.block_rows
            codes.upper[inside] = block.upper[places // GROUP, :, places % GROUP]
            codes.lower[inside] = block.lower[places].reshape(len(places), -1, 4)
            codes.numbers[:, inside] = block.numbers[places // GROUP, :, places % GROUP].T
        return codes


def nothing(count: int, chunks: int) -> Codes:
    """Return codes of ``count`` rows that are all zero."""
    return Codes(
        np.zeros((count, chunks, 4), np.uint8),
        np.zeros((count, chunks, 4), np.uint8),
        np.zeros((NUMBERS, count), np.float32),
    )
