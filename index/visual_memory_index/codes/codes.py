"""Codes of 8 bits a dimension, in two halves, with bounds of what they leave out.

A vector is turned by a fixed ``Rotation``, which spreads it over all dimensions, and each number
is rounded to one of 256 odd numbers from −255 to 255, on a scale of the vector. The upper half of a
code is an odd number from −15 to 15, the lower half another: the number is 16 times the one plus
the other. A code depends on its own vector alone.

Bounds. Let x be a unit vector, turned, v its code or the upper half of it, and q a query. With the
scale a = x·v / v·v the residual r = x − a·v is orthogonal to v. So q·x = a·q·v + q·r, and q·r is at
most ‖r‖ times the part of q that is orthogonal to v, whose square is ‖q‖² − (q·v)² / v·v. Since
a²·v·v = 1 − ‖r‖², that is

    |q·x − s| ≤ ‖r‖ · √(‖q‖² − s² / (1 − ‖r‖²))    where s = a·q·v

(the triangle inequality of the angles between q, v and x). It is far below ‖r‖ where x is near to
q. The query is rounded to integers, too, q = p + e: the above holds for p, and |e·x| ≤ ‖e‖.

Rounding. q·v is an exact sum of integers. ``groups`` and ``kernels`` have the rest in float32: the
score s, a product of four rounded numbers, is off by 5e-7 at most, since ‖p‖ ≤ 2. Below the root
stands ‖r‖² · (‖p‖² + ROUNDED) − s² · ‖r‖² / (1 − ‖r‖²), where the loss ‖r‖² is rounded up and the
share ‖r‖² / (1 − ‖r‖²) down; the second term is no larger than the first, so that both err by less
than 14 · 2⁻²⁴ · 4 · ‖r‖², which ROUNDED = 1e-5 outweighs. Norms of vectors differ from 1 by 1e-6 at
most; the root, two sums with it and what ``bound.reach`` subtracts are off by another 5e-7. These
2e-6 are in MARGIN, which each comparison takes twice.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes import kernels
from visual_memory_index.codes.groups import CHUNK, DIMENSIONS, MANY
from visual_memory_index.rows.compiled import read_only

DIMENSION_MAX = 16_384
ROUNDS = 3  # of a rotation: the last numbers mix with the first
LEVEL_MAX = 15  # of a half of a code
NUMBERS = 6  # of a code
MARGIN = 5e-6
DIGIT_MAX = 127
SUM_MAX = 2**31 - 1

Floats = NDArray[np.float32]


class Rotation:
    """An orthogonal transform of vectors of one dimension d, in O(d log d); see ``kernels.turn``.

    It is off by some units in the last place of float64, and d is at most 16,384: the bounds of
    ``MARGIN``, and sums in 32 bits, are proved up to there.
    """

    def __init__(self, dimension: int) -> None:
        assert 1 <= dimension <= DIMENSION_MAX
        data = hashlib.shake_256(b"visual memory").digest(ROUNDS * dimension)
        bits = np.frombuffer(data, np.uint8).reshape(ROUNDS, dimension)
        self.signs = np.where(bits & 1, 1.0, -1.0)

    def __call__(self, vectors: Floats) -> NDArray[np.float64]:
        """Return ``vectors`` (n, d), turned: float64 (d, n), one in each column."""
        turned = np.array(vectors.T, dtype=np.float64, order="C")
        kernels.turn(turned, self.signs)
        return turned


class Codes(NamedTuple):
    """Codes of n vectors: ``upper`` and ``lower`` halves uint8 (n, chunks, 4), two numbers a byte.

    ``numbers`` float32 (6, n) are the scale a, the loss ‖r‖² and the share ‖r‖² / (1 − ‖r‖²), of
    the upper halves alone, then of the whole codes.
    """

    upper: NDArray[np.uint8]
    lower: NDArray[np.uint8]
    numbers: Floats


def chunks_of(dimension: int) -> int:
    """Return the number of chunks of a code: one for every 8 dimensions begun."""
    return -(-dimension // DIMENSIONS)


def bytes_of(dimension: int) -> int:
    """Return the number of bytes of one code that is ``packed``."""
    return DIMENSIONS * chunks_of(dimension) + 4 * NUMBERS


def room(count: int, dimension: int) -> Codes:
    """Return room for the codes of ``count`` vectors."""
    shape = count, chunks_of(dimension), DIMENSIONS // 2
    upper, lower = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    return Codes(upper, lower, np.empty((NUMBERS, count), np.float32))


def packed(codes: Codes) -> NDArray[np.uint8]:
    """Return codes as bytes (n, ``bytes_of(d)``): both halves, then the numbers, little-endian."""
    count, chunks, width = codes.upper.shape
    halves = (half.reshape(count, chunks * width) for half in (codes.upper, codes.lower))
    return np.hstack([*halves, np.ascontiguousarray(codes.numbers.T, "<f4").view(np.uint8)])


def unpacked(data: NDArray[np.uint8]) -> Codes:
    """Return the codes that were ``packed``."""
    halves, numbers = data[:, : -4 * NUMBERS], data[:, -4 * NUMBERS :]
    shape = len(data), halves.shape[1] // DIMENSIONS, DIMENSIONS // 2
    upper, lower = (half.reshape(shape) for half in np.split(halves, 2, axis=1))
    floats = np.ascontiguousarray(numbers).view("<f4").astype(np.float32, copy=False)
    return Codes(upper, lower, floats.T)


def encode(turned: NDArray[np.float64]) -> Codes:
    """Return the codes of unit vectors (d, n) that a ``Rotation`` turned."""
    dimension, count = turned.shape
    codes = room(count, dimension)
    kernels.encode(turned, *codes)
    return codes


def encode_rows(vectors: Floats, rotation: Rotation) -> Codes:
    """Return the codes of unit ``vectors`` (n, d), turned by their ``rotation``."""
    codes = room(*vectors.shape)
    kernels.encode_rows(read_only(vectors), rotation.signs, *codes)
    return codes


class Digits(NamedTuple):
    """Queries in integers, for ``kernels``, where the shapes are described.

    A query is ``steps`` times its integers, whose sum times 15 is in ``offsets``. Their ``digits``
    are arranged as the codes of a group, ``row_digits`` as a half of a row's. ``squares`` are its
    squared norms so rounded. A product with a unit vector is off by ``margins`` at most.
    """

    digits: NDArray[np.int8]
    row_digits: NDArray[np.int8]
    offsets: NDArray[np.int32]
    steps: Floats
    squares: Floats
    margins: Floats

    def part(self, start: int, end: int) -> Digits:
        """Return those of the queries from ``start``, a multiple of MANY, to ``end``."""
        own = slice(start, end)
        return Digits(
            self.digits[start // MANY : -(-end // MANY)],
            self.row_digits[own],
            self.offsets[own],
            self.steps[own],
            self.squares[own],
            self.margins[own],
        )


def to_digits(turned: NDArray[np.float64]) -> Digits:
    """Return unit queries (d, n) that a ``Rotation`` turned: one in 16 bits, several in 8."""
    dimension, count = turned.shape
    chunks, most = chunks_of(dimension), DIGIT_MAX
    tiles, columns, parts = -(-count // MANY), MANY, 1
    if count == 1:
        most = min(257 * DIGIT_MAX, SUM_MAX // (LEVEL_MAX * dimension))
        tiles, columns, parts = 1, 2, 2
    digits = np.zeros((tiles, chunks, columns, DIMENSIONS), np.int8)
    row_digits = np.zeros((count, parts, 2, -(-4 * chunks // CHUNK) * CHUNK), np.int8)
    totals, steps = np.empty(count, np.int32), np.empty(count, np.float32)
    squares, errors = np.empty(count), np.empty(count)
    kernels.round_queries(turned, most, digits, row_digits, totals, steps, squares, errors)
    return Digits(
        digits=digits,
        row_digits=row_digits,
        offsets=LEVEL_MAX * totals,
        steps=steps,
        squares=squares.astype(np.float32),
        margins=np.nextafter((errors + MARGIN).astype(np.float32), np.float32(np.inf)),
    )
