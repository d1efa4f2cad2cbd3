"""KNN-Shapley values: the worth of each entry to queries whose label is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.rows import Rows

VALUED_AT_ONCE = 1 << 18  # values whose arrays stay in a core's cache


def shapley(matches: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """Return the KNN-Shapley value of each entry for queries of known label, float64 (…, m).

    ``matches`` (…, m) is True for entries with the query's label; entries are nearest first. The
    values are, with i and j counted from 1, s(i) = match(i) / max(i, k) − Σ match(j) / (j·(j − 1))
    over all j > max(i, k). This is the recursion of Jia et al., 2019 (Efficient task-specific data
    valuation for nearest neighbor algorithms, theorem 1), in closed form, valid also for k > m. The
    values sum to the number of matches among the k nearest, divided by k.

    All k count alike. If votes are balanced or a head decides, an entry that is left out changes
    the weights of others, and so the utility of a set is no sum over its nearest entries, on which
    the recursion rests.
    """
    places = np.arange(1.0, matches.shape[-1] + 1.0)
    steps = np.zeros_like(places)
    steps[k:] = 1.0 / (places[k:] * (places[k:] - 1.0))
    values = matches * (1.0 / np.maximum(places, k))
    values[..., :-1] -= np.cumsum((matches * steps)[..., :0:-1], axis=-1)[..., ::-1]
    return values


class Valuation:
    """The mean KNN-Shapley value of every entry over the queries added so far.

    If a query is an entry itself, only the m − 1 other entries are valued by it. The mean of an
    entry is over the queries that valued it, so over m − 1 if every entry is a query once. Each
    mean is exactly the entry's Shapley value in the game that pays the mean utility of those
    queries, since the Shapley value is linear in the utility.
    """

    def __init__(self, labels: NDArray[np.object_], k: int) -> None:
        """Begin without queries, for entries with ``labels`` (m,), by row, and k ≥ 1 neighbours."""
        self._code_of = {label: code for code, label in enumerate(dict.fromkeys(labels))}
        self._codes = np.array([self._code_of[label] for label in labels], dtype=np.int32)
        self._k = k
        self._totals = np.zeros(len(labels))
        self._queries = np.zeros(len(labels), dtype=np.int64)

    def add(self, order: Rows, labels: Sequence[str], own: Rows | None = None) -> None:
        """Add queries, each with the label it should get.

        ``order`` (n, m) has all rows, nearest first; ``own`` (n,) is each query's own row, if
        queries are entries. The totals do not depend on how queries are divided among calls.
        """
        step = max(1, VALUED_AT_ONCE // max(1, order.shape[1]))
        codes = np.array([self._code_of.get(label, -1) for label in labels], dtype=np.int32)
        for start in range(0, len(order), step):
            part = slice(start, start + step)
            valued = order[part]
            if own is not None:
                others = valued != own[part, np.newaxis]
                valued = valued[others].reshape(len(valued), order.shape[1] - 1)
            matches = self._codes[valued] == codes[part, np.newaxis]
            for rows, values in zip(valued, shapley(matches, self._k), strict=True):
                self._totals[rows] += values
        self._queries += len(order)
        if own is not None:
            np.subtract.at(self._queries, own, 1)

    def means(self) -> NDArray[np.float64]:
        """Return the mean value of each row, float64 (m,); 0 if no query has valued it."""
        return self._totals / np.maximum(self._queries, 1)
