"""Pairs of unit vectors whose products come as near to the bounds of codes as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tests.index.codes.replica import unpacked

from visual_memory_index import unit_rows
from visual_memory_index.codes.codes import Rotation, encode
from visual_memory_index.rows.distances import UNIT_TOLERANCE

Turned = NDArray[np.float64]
Floats = NDArray[np.float32]
Kind: TypeAlias = Callable[[np.random.Generator, int, int], Turned]

SUBNORMAL = 1e-42


def turned_back(rotation: Rotation, turned: Turned) -> Turned:
    """Return the vectors (n, d) that ``rotation`` turns to ``turned``."""
    back, d = turned.copy(), turned.shape[1]
    width = 1 << d.bit_length() - 1
    for number, signs in reversed(list(enumerate(rotation.signs))):
        part = slice(d - width, d) if number % 2 else slice(width)
        back[:, part] = walsh(back[:, part])
        back *= signs
    return back


def walsh(numbers: Turned) -> Turned:
    """Return the orthogonal Walsh-Hadamard transform of numbers (n, w), w a power of two."""
    n, width = numbers.shape
    half, scale = 1, width**-0.5
    while half < width:
        one, other = np.moveaxis(numbers.reshape(n, -1, 2, half), 2, 0)
        numbers = np.stack([one + other, one - other], axis=2).reshape(n, width)
        half *= 2
    numbers *= scale
    return numbers


def stretched(rng: np.random.Generator, vectors: Turned) -> Floats:
    """Bring vectors to unit length, and some of them as far from it as is still unit."""
    units = unit_rows(vectors.astype(np.float32))
    lengths = 1 + rng.choice([0, 0.97, -0.97], (len(units), 1)) * UNIT_TOLERANCE
    longer = (units * lengths).astype(np.float32)
    kept = np.abs(np.linalg.norm(longer.astype(np.float64), axis=1) - 1) <= UNIT_TOLERANCE
    chosen: Floats = np.where(kept[:, np.newaxis], longer, units)
    return chosen


def scales(rng: np.random.Generator, n: int, least: float, most: float) -> Turned:
    numbers: Turned = 10.0 ** rng.uniform(least, most, (n, 1))
    return numbers


def spread(rng: np.random.Generator, n: int, d: int) -> Turned:
    return rng.standard_normal((n, d))


def sparse(rng: np.random.Generator, n: int, d: int) -> Turned:
    numbers: Turned = rng.standard_normal((n, d)) * (rng.random((n, d)) < 1 / np.sqrt(d))
    numbers[np.arange(n), rng.integers(d, size=n)] = rng.choice([-1.0, 1.0], n)
    return numbers


def one_large(rng: np.random.Generator, n: int, d: int) -> Turned:
    numbers: Turned = rng.standard_normal((n, d)) * scales(rng, n, -9, 0)
    numbers[np.arange(n), rng.integers(d, size=n)] = rng.choice([-1.0, 1.0], n)
    return numbers


def alone(rng: np.random.Generator, n: int, d: int) -> Turned:
    numbers = np.full((n, d), SUBNORMAL)
    numbers[np.arange(n), rng.integers(d, size=n)] = rng.choice([-1.0, 1.0], n)
    return numbers


def equal(rng: np.random.Generator, n: int, d: int) -> Turned:
    return rng.choice([-1.0, 1.0], (n, d))


def nearly_equal(rng: np.random.Generator, n: int, d: int) -> Turned:
    by: Turned = scales(rng, n, -9, -1) * rng.standard_normal((n, d))
    numbers: Turned = equal(rng, n, d) * (1 + by)
    return numbers


def borders(rng: np.random.Generator, n: int, d: int) -> Turned:
    """Return numbers between two codes, by halves, by wholes or by digits of queries."""
    levels = rng.choice([8, 128, 127], (n, 1))
    numbers: Turned = np.rint(rng.uniform(-1, 1, (n, d)) * levels)
    numbers += np.where(levels == 127, 0.5, 0.0)
    numbers *= 1 + rng.choice([-1e-7, 0, 1e-7], (n, d))
    numbers[np.arange(n), rng.integers(d, size=n)] = levels[:, 0]
    return numbers


def small(rng: np.random.Generator, n: int, d: int) -> Turned:
    """Return one number as large as it is, others just above or below half a digit."""
    numbers = rng.choice([-0.5, 0.5], (n, d)) * (1 + rng.uniform(-1e-2, 1e-2, (n, 1)))
    numbers[np.arange(n), rng.integers(d, size=n)] = 127
    return numbers


KINDS: Mapping[str, Kind] = MappingProxyType(
    {each.__name__: each for each in (spread, sparse, one_large, equal, nearly_equal)}
    | {each.__name__: each for each in (alone, borders, small)}
)


def vectors(rng: np.random.Generator, n: int, d: int, kind: str, rotation: Rotation) -> Floats:
    """Return unit vectors (n, d) that are of a kind as they are, or once ``rotation`` turned them.

    Those of the kind "alone" keep numbers that are no more than subnormal.
    """
    numbers = KINDS[kind](rng, n, d)
    if kind != "alone" and rng.random() < 0.7:
        numbers = turned_back(rotation, numbers / np.linalg.norm(numbers, axis=1, keepdims=True))
    return stretched(rng, numbers)


def pairs(
    rng: np.random.Generator, n: int, d: int, kind: str, rotation: Rotation
) -> tuple[Floats, Floats]:
    """Return queries and vectors, (n, d) each, whose products are hard to bound.

    Most queries lie in the plane of a vector's code and its residual, where the bound is the
    product itself; others are near to the vector, opposite to it, or along their own rounding.
    """
    rows = vectors(rng, n, d, kind, rotation)
    codes, turned = encode(rotation(rows)), rotation(rows).T
    upper = 2.0 * unpacked(codes.upper)[:, :d] - 15
    whole = 16 * upper + 2.0 * unpacked(codes.lower)[:, :d] - 15
    chosen = np.where(rng.random((n, 1)) < 0.5, upper, whole)
    along = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    rest = turned - (turned * along).sum(axis=1, keepdims=True) * along
    rest += 1e-12 * rng.standard_normal((n, d))
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    angles = np.where(rng.random((n, 1)) < 0.5, 1, rng.uniform(-np.pi, np.pi, (n, 1)))
    angles *= rng.choice([-1, 1], (n, 1)) * scales(rng, n, -6, 0)
    angles += rng.choice([0, np.pi / 2, np.pi], (n, 1))
    queries = np.cos(angles) * along + np.sin(angles) * rest
    near = rng.choice([-1.0, 1.0], (n, 1)) * turned
    near += scales(rng, n, -10, 0) * rng.standard_normal((n, d)) / np.sqrt(d)
    steps = np.abs(turned).max(axis=1, keepdims=True) / 127
    rounding = turned - steps * np.rint(turned / steps) + 1e-12
    other = rng.random((n, 1))
    queries = np.where(other < 0.2, near, np.where(other < 0.25, rounding, queries))
    asked = stretched(rng, turned_back(rotation, queries))
    swapped = other[:, 0] > 0.95
    asked[swapped], rows[swapped] = rows[swapped], asked[swapped]
    return asked, rows
