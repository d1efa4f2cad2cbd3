"""Rows by their numbers: some of them as bits, and where rows move when others are removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Number = TypeVar("Number", bound=np.integer)

WORD = 64  # bits


@dataclass(frozen=True, slots=True, eq=False)
class RowBits:
    """Some of ``size`` rows, as bits: ``words`` uint64 of 64 rows each, the lowest bit first.

    Bits behind the last row are 0.
    """

    words: NDArray[np.uint64]
    size: int

    @classmethod
    def of_mask(cls, mask: NDArray[np.bool_]) -> RowBits:
        """Return the rows where ``mask`` (m,) is True."""
        size = len(mask)
        packed = np.zeros(-(-size // WORD) * 8, np.uint8)
        packed[: -(-size // 8)] = np.packbits(mask, bitorder="little")
        return cls(packed.view("<u8"), size)

    @classmethod
    def of_rows(cls, rows: Rows, size: int) -> RowBits:
        """Return these ``rows`` out of ``size``."""
        mask = np.zeros(size, dtype=bool)
        mask[rows] = True
        return cls.of_mask(mask)

    @classmethod
    def every(cls, size: int) -> RowBits:
        """Return all of ``size`` rows."""
        words = np.full(-(-size // WORD), 2**WORD - 1, "<u8")
        if size % WORD:
            words[-1] = (1 << size % WORD) - 1
        return cls(words, size)

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(np.bitwise_count(self.words).sum(dtype=np.int64))

    def __and__(self, other: RowBits) -> RowBits:
        return RowBits(self.words & other.words, self.size)

    def __or__(self, other: RowBits) -> RowBits:
        return RowBits(self.words | other.words, self.size)

    def __invert__(self) -> RowBits:
        return RowBits(RowBits.every(self.size).words ^ self.words, self.size)

    def without(self, rows: Rows) -> RowBits:
        """Return all but these ``rows``."""
        words, bits = self.words.copy(), np.uint64(1) << (rows % WORD).astype(np.uint64)
        np.bitwise_and.at(words, rows // WORD, ~bits)
        return RowBits(words, self.size)

    def of_first(self, size: int) -> RowBits:
        """Return these rows out of the first ``size``; all others are not among them."""
        return RowBits(self.words[: -(-size // WORD)], size)

    def mask(self) -> NDArray[np.bool_]:
        """Return a mask (size,) of the rows."""
        packed = self.words.view(np.uint8)
        return np.unpackbits(packed, count=self.size, bitorder="little").view(np.bool_)

    def rows(self) -> Rows:
        """Return the rows, ascending."""
        return np.flatnonzero(self.mask())


def moves(count: int, gone: Rows) -> tuple[Rows, Rows]:
    """Return the rows that move, and their new places, if the ascending rows ``gone`` are removed.

    The last of the remaining rows take the places of removed rows, both in ascending order.
    """
    left = count - len(gone)
    holes = gone[gone < left]
    stays = np.ones(len(gone), dtype=bool)
    stays[gone[len(holes) :] - left] = False
    return left + np.flatnonzero(stays), holes


def distinct(numbers: NDArray[Number]) -> NDArray[Number]:
    """Return the different ``numbers`` (n,), ascending.

    Other threads of Python go on meanwhile, as they do not during ``numpy.unique``.
    """
    ordered = np.sort(numbers)
    return ordered[differs_from_last(ordered)]


def first_places(numbers: NDArray[Number]) -> Rows:
    """Return where each different number in ``numbers`` (n,) stands first, by the number."""
    order = np.argsort(numbers, kind="stable")
    return order[differs_from_last(numbers[order])]


def differs_from_last(ordered: NDArray[Number]) -> NDArray[np.bool_]:
    """Return a mask of the ascending numbers ``ordered`` that differ from the one before."""
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first
