"""The bounds of codes in NumPy, number by number as the processor rounds them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes.codes import Codes, Digits
from visual_memory_index.codes.groups import ROUNDED

Floats = NDArray[np.float32]
Sums = NDArray[np.int64]


class Bounds(NamedTuple):
    """Scores and their errors, float32, by the upper halves of codes, then by the whole codes."""

    scores: tuple[Floats, Floats]
    errors: tuple[Floats, Floats]


def unpacked(halves: NDArray[np.uint8]) -> Sums:
    """Return the numbers from 0 to 15 of codes (n, chunks, 4): (n, 8 · chunks)."""
    numbers = np.concatenate([halves & 15, halves >> 4], axis=2)
    return numbers.reshape(len(halves), -1).astype(np.int64)


def words_of(digits: Digits) -> Sums:
    """Return the integers of queries: (n, 8 · chunks)."""
    n, columns = digits.row_digits.shape[:2]
    chunks = digits.digits.shape[1]
    halves = digits.row_digits[..., : 4 * chunks].reshape(n, columns, 2, chunks, 4)
    by_column = halves.swapaxes(2, 3).reshape(n, columns, -1).astype(np.int64)
    return by_column[:, 0] if columns == 1 else 256 * by_column[:, 0] + by_column[:, 1]


def columns_of(digits: Digits) -> Sums:
    """Return the digits of all columns of all tiles: (tiles, columns, 8 · chunks)."""
    tiles, _, columns, _ = digits.digits.shape
    return digits.digits.transpose(0, 2, 1, 3).reshape(tiles, columns, -1).astype(np.int64)


def one_of(digits: Digits, query: int) -> Digits:
    """Return one query of several, without its digits by column."""
    return digits._replace(
        row_digits=digits.row_digits[query : query + 1],
        offsets=digits.offsets[query : query + 1],
        steps=digits.steps[query : query + 1],
        squares=digits.squares[query : query + 1],
        margins=digits.margins[query : query + 1],
    )


def bounds(codes: Codes, digits: Digits) -> Bounds:
    """Return the bounds of products: of one query with n codes, or of n queries, one with one."""
    words = words_of(digits)
    upper, lower = ((unpacked(each) * words).sum(axis=1) for each in (codes.upper, codes.lower))
    offsets = digits.offsets.astype(np.int64)
    wholes = 2 * upper - offsets, 32 * upper + 2 * lower - 17 * offsets
    found = [
        bound(whole, digits.steps, digits.squares, codes.numbers[3 * half : 3 * half + 3])
        for half, whole in enumerate(wholes)
    ]
    return Bounds((found[0][0], found[1][0]), (found[0][1], found[1][1]))


def bound(whole: Sums, steps: Floats, squares: Floats, numbers: Floats) -> tuple[Floats, Floats]:
    """Return a score and its error for each sum, given scales, losses and shares, (3, …)."""
    scales, losses, shares = numbers
    scores = whole.astype(np.float32) * (steps * scales)
    left = losses * (squares + np.float32(ROUNDED)) - shares * (scores * scores)
    return scores, np.sqrt(np.maximum(left, np.float32(0)))
