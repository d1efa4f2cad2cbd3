"""The exact distance of two unit vectors: float64, summed in one fixed order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.compiled import compiled, read_only
from visual_memory_index.rows.rows import Rows

Distances = NDArray[np.float64]

UNIT_TOLERANCE = 1e-6


def fixed_sum(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the last axis of (…, d): the upper half is added to the lower until one is left.

    Only element-wise additions: the order depends on d alone, never on the number of rows, the
    processor or NumPy's reduction. Overwrites ``terms``.
    """
    width = terms.shape[-1]
    while width > 1:
        half = (width + 1) // 2
        terms[..., : width - half] += terms[..., half:width]
        width = half
    return terms[..., 0].copy()


def exact_distances(query: NDArray[np.float32], rows: NDArray[np.float32]) -> Distances:
    """Return 1 − dot products of unit ``query`` (d,) and unit rows (m, d): float64 (m,) in [0, 2].

    A product of two float32 is exact in float64, so only the sum rounds: it is ``fixed_sum``. The
    dot products are not divided by the norms, which ``unit_rows`` leaves up to 1e-6 from 1, so a
    result may differ from 1 − cosine by about 2e-6.
    """
    numbers = np.zeros(len(rows), dtype=np.intp)
    return distances_of_pairs(query[np.newaxis], numbers, rows, np.arange(len(rows)))


def distances_of_pairs(
    queries: NDArray[np.float32], numbers: Rows, vectors: NDArray[np.float32], rows: Rows
) -> Distances:
    """Return ``exact_distances`` of queries[numbers] to vectors[rows], pair by pair: (m,)."""
    distances = np.empty(len(rows))
    measure(queries.astype(np.float64), numbers, read_only(vectors), rows, distances)
    return distances


@compiled
def sum_in_order(terms: Any) -> Any:
    """Return the ``fixed_sum`` of ``terms`` float64 (d,), and overwrite them."""
    width = len(terms)
    while width > 1:
        half = (width + 1) // 2
        for at in range(width - half):
            terms[at] += terms[half + at]
        width = half
    return terms[0]


@compiled
def measure(queries: Any, numbers: Any, vectors: Any, rows: Any, distances: Any) -> None:
    """Write ``distances_of_pairs`` into ``distances``; ``queries`` are float64 (n, d)."""
    dimension = vectors.shape[1]
    half = (dimension + 1) // 2
    sums = np.zeros(half)
    for pair in range(len(rows)):
        query, vector = queries[numbers[pair]], vectors[rows[pair]]
        for at in range(half):
            sums[at] = query[at] * np.float64(vector[at])
        for at in range(dimension - half):
            sums[at] += query[half + at] * np.float64(vector[half + at])
        distance = 1.0 - sum_in_order(sums)
        if distance < 0.0:
            distance = 0.0
        elif distance > 2.0:
            distance = 2.0
        distances[pair] = distance


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale ``rows`` (n, d) to unit length; a row whose norm is within 1e-6 of 1 keeps its bits.

    Norms are float64. A row that is zero or not finite becomes NaN: see ``bad_rows``. Returns
    ``rows`` itself if all keep their bits.
    """
    given, norms = read_only(rows), np.empty(len(rows))
    if measure_norms(given, norms) == len(rows):
        return rows
    units = rows.copy()
    scale(given, norms, units)
    return units


@compiled
def measure_norms(rows: Any, norms: Any) -> int:
    """Write the norm of each of ``rows`` float32 (n, d) into ``norms``; return how many are 1."""
    sums = np.zeros(rows.shape[1])
    units = 0
    for row in range(len(rows)):
        for at in range(rows.shape[1]):
            number = np.float64(rows[row, at])
            sums[at] = number * number
        norms[row] = np.sqrt(sum_in_order(sums))
        units += abs(norms[row] - 1.0) <= UNIT_TOLERANCE
    return units


@compiled
def scale(rows: Any, norms: Any, units: Any) -> None:
    """Write the ``rows`` whose norms are not 1, divided by them, into ``units``, or else NaN."""
    for row in range(len(rows)):
        if abs(norms[row] - 1.0) <= UNIT_TOLERANCE:
            continue
        usable = 0.0 < norms[row] < np.inf
        for at in range(rows.shape[1]):
            units[row, at] = np.float64(rows[row, at]) / norms[row] if usable else np.nan


def bad_rows(units: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the rows that ``unit_rows`` made NaN, since they were zero, NaN or infinite."""
    return np.flatnonzero(~np.isfinite(units).all(axis=1))
