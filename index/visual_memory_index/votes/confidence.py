"""Accuracy by confidence, and the calibration error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import TooFewItems

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """A confidence bin (``low``, ``high``]: its number of items, their mean value and accuracy."""

    low: float
    high: float
    count: int
    value: float
    accuracy: float


def by_confidence(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> list[Bin]:
    """Return the non-empty bins of equal width over [0, 1], ascending; 0 is in the first.

    ``confidences`` and ``correct`` are (n,).
    """
    highs = np.arange(1, bins + 1) / bins
    lows = np.concatenate([[0.0], highs[:-1]])
    numbers = np.searchsorted(highs, confidences, side="left")
    return [
        Bin(
            low=float(lows[number]),
            high=float(highs[number]),
            count=int(np.count_nonzero(inside)),
            value=float(confidences[inside].mean()),
            accuracy=float(correct[inside].mean()),
        )
        for number in np.unique(numbers)
        for inside in [numbers == number]
    ]


def calibration_error(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Return Σ n_b / n · |accuracy − confidence| over equal bins (Naeini et al., 2015).

    Raises TooFewItems without any.
    """
    if not len(confidences):
        raise TooFewItems("decisions", got=0, needed=1)
    gaps = (
        each.count * abs(each.accuracy - each.value)
        for each in by_confidence(confidences, correct, bins)
    )
    return math.fsum(gaps) / len(confidences)
