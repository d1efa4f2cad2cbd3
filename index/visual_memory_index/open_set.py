"""Whether a query is like anything in the memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.coverage import rank_at
from visual_memory_index.distances import fixed_sum
from visual_memory_index.errors import TooFewItems

KEPT = 0.95
NEAREST_MAX = 100  # how many neighbours a mean or a median looks at, after Geirhos et al., 2024

Distances: TypeAlias = NDArray[np.float64]
Strangeness: TypeAlias = Callable[[Distances], Distances]


def kth(distances: Distances, k: int = 1) -> Distances:
    """The distance of the ``k``-th neighbour, k ≥ 1, or of the last if there are fewer.

    Here and below ``distances`` are ascending rows (n, m), m ≥ 1, and the answer (n,) grows with
    how unknown a query is.
    """
    return distances[:, min(k, distances.shape[1]) - 1]


def mean(distances: Distances) -> Distances:
    """The mean of the first 100 distances, or of all if there are fewer."""
    first = distances[:, :NEAREST_MAX]
    return np.divide(fixed_sum(first.copy()), first.shape[1])


def median(distances: Distances) -> Distances:
    """The median of the first 100 distances, or of all if there are fewer."""
    count = min(NEAREST_MAX, distances.shape[1])
    return (distances[:, (count - 1) // 2] + distances[:, count // 2]) / 2.0


STRANGENESS: Mapping[str, Strangeness] = MappingProxyType(
    {score.__name__: score for score in (kth, mean, median)}
)


def threshold(known: Distances, kept: float = KEPT) -> float:
    """The ⌈kept · n⌉-th smallest of the scores ``known`` (n,): a query is accepted up to it.

    Raises TooFewItems, BadCoverage.
    """
    rank = rank_at(kept, len(known))
    if not rank:
        raise TooFewItems("known queries", got=0, needed=1)
    return float(np.partition(known, rank - 1)[rank - 1])


def accepted(scores: Distances, threshold: float) -> NDArray[np.bool_]:
    """Which of ``scores`` (n,) are those of a known query."""
    return scores <= threshold


def auroc(known: Distances, unknown: Distances) -> float:
    """P(unknown > known) + ½ P(equal) over all pairs of scores. Raises TooFewItems."""
    _check(known, unknown)
    ascending = np.sort(known)
    below = np.searchsorted(ascending, unknown, side="left").sum()
    not_above = np.searchsorted(ascending, unknown, side="right").sum()
    return float(below + not_above) / (2 * len(known) * len(unknown))


def false_acceptance(known: Distances, unknown: Distances, kept: float = KEPT) -> float:
    """The share of ``unknown`` that ``threshold`` accepts; at 0.95 this is FPR95.

    Raises TooFewItems, BadCoverage.
    """
    _check(known, unknown)
    return float(accepted(unknown, threshold(known, kept)).mean())


def _check(known: Distances, unknown: Distances) -> None:
    """Two kinds are compared, so both must be there. Raises TooFewItems."""
    for name, scores in (("known", known), ("unknown", unknown)):
        if not len(scores):
            raise TooFewItems(f"{name} queries", got=0, needed=1)
