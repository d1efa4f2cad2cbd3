"""The order of all rows by distance to a query: by float64 scores, exact where these are close."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes.bound import rounding_error
from visual_memory_index.rows.multiply import multiply
from visual_memory_index.rows.rows import Rows
from visual_memory_index.scan.vectors import Ids, UnitRows

WIDENED_AT_ONCE = 1 << 22  # numbers made float64 at a time: 32 MB


def rank_all(queries: NDArray[np.float32], rows: UnitRows, ids: Ids) -> Rows:
    """Rank every row for each query of float32 (n, d) unit vectors, nearest first: (n, m).

    ``rows`` are unit vectors, ``ids`` their ids. The order is by ``exact_distances``, equal
    distances by id in byte order. Takes 16 bytes for each of the n × m pairs: pass a few queries at
    a time.
    """
    scores = _negated_scores(queries, rows)
    order = np.empty(scores.shape, dtype=np.intp)
    doubt = 2.0 * score_doubt(queries.shape[1])
    for query, score, ranked in zip(queries, scores, order, strict=True):
        np.clip(score, -1.0, 1.0, out=score)
        ranked[:] = np.argsort(score)
        ascending = score[ranked]
        close = ascending[1:] - ascending[:-1] <= doubt
        if close.any():
            places = np.flatnonzero(np.append(close, False) | np.append(False, close))
            ranked[places] = _in_exact_order(query, rows, ids, ranked[places])
    return order


def score_doubt(dimension: int) -> float:
    """Return a bound of the difference between 1 + a score of ``rank_all`` and the exact distance.

    Both add the same d products of unit vectors, exact in float64, in some order. The subtraction
    from 1 rounds once more, below 2⁻⁵¹. Clamping both brings them no further apart.
    """
    return 2.0 * rounding_error(dimension, 2.0**-53) + 2.0**-51


def _negated_scores(queries: NDArray[np.float32], rows: UnitRows) -> NDArray[np.float64]:
    """Return minus the inner products of ``queries`` (n, d) with all m rows: float64 (n, m)."""
    negated = -queries.astype(np.float64)
    scores = np.empty((len(queries), rows.count))
    step = max(1, WIDENED_AT_ONCE // queries.shape[1])
    start = 0
    for block in rows.blocks():
        for inside in range(0, len(block), step):
            piece = block[inside : inside + step].astype(np.float64)
            multiply(negated, piece.T, out=scores[:, start : start + len(piece)])
            start += len(piece)
    return scores


def _in_exact_order(query: NDArray[np.float32], rows: UnitRows, ids: Ids, some: Rows) -> Rows:
    """Sort ``some`` rows by exact distance, equal distances by id."""
    exact = rows.distances(query[np.newaxis], np.zeros_like(some), some)
    return some[exact_order(some, exact, ids)]


def exact_order(rows: Rows, distances: NDArray[np.float64], ids: Ids) -> Rows:
    """Return the positions in ``rows`` by distance, equal distances by the rows' ``ids``."""
    order = np.argsort(distances)
    ordered = distances[order]
    equal = ordered[1:] == ordered[:-1]
    if equal.any():
        tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
        places = order[tied]
        named = zip(distances[places].tolist(), ids(rows[places]), places, strict=True)
        order[tied] = [place for *_, place in sorted(named)]  # code points sort as UTF-8 does
    return order
