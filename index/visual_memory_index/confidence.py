"""How often decisions of a given confidence are right."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import TooFewItems

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """The items whose value lies in (``low``, ``high``]: their mean value and their accuracy."""

    low: float
    high: float
    count: int
    value: float
    accuracy: float


def by_confidence(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> list[Bin]:
    """The bins of equal width over [0, 1] that are not empty, ascending; 0 is in the first.

    ``confidences`` and ``correct`` are (n,). Takes the normalised certainty of ``certainty`` too.
    """
    return _binned(confidences, correct, np.arange(1, bins + 1) / bins)


def by_agreement(agreements: NDArray[np.intp], correct: NDArray[np.bool_]) -> list[Bin]:
    """One bin for each count of ``agreement`` that occurs, ascending; both arrays are (n,)."""
    return _binned(agreements.astype(float), correct, np.arange(1.0, agreements.max(initial=0) + 1))


def calibration_error(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Σ n_b / n · |accuracy − confidence| over equal bins (Naeini et al., 2015).

    Raises TooFewItems without any.
    """
    if not len(confidences):
        raise TooFewItems("decisions", got=0, needed=1)
    gaps = (
        each.count * abs(each.accuracy - each.value)
        for each in by_confidence(confidences, correct, bins)
    )
    return math.fsum(gaps) / len(confidences)


def agreement(labels: NDArray[np.object_]) -> int:
    """How many of the k ≥ 1 neighbours' ``labels`` (k,) are the most frequent one."""
    return max(Counter(labels.tolist()).values())


def certainty(labels: NDArray[np.object_]) -> float:
    """1 − H / log₂ k in [0, 1]: H is the entropy of the neighbours' ``labels`` (k,), k ≥ 1.

    1 where all agree, also for k = 1; 0 where no two do.
    """
    k = len(labels)
    counts = Counter(labels.tolist()).values()
    if len(counts) == 1:
        return 1.0
    entropy = math.fsum(count / k * math.log2(k / count) for count in counts)
    return max(0.0, 1.0 - entropy / math.log2(k))


def _binned(
    values: NDArray[np.float64], correct: NDArray[np.bool_], highs: NDArray[np.float64]
) -> list[Bin]:
    """By the first of ``highs`` that is not below the value."""
    lows = np.concatenate([[0.0], highs[:-1]])
    numbers = np.searchsorted(highs, values, side="left")
    return [
        Bin(
            low=float(lows[number]),
            high=float(highs[number]),
            count=int(np.count_nonzero(inside)),
            value=float(values[inside].mean()),
            accuracy=float(correct[inside].mean()),
        )
        for number in np.unique(numbers)
        for inside in [numbers == number]
    ]
