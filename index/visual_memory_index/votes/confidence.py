"""Accuracy by confidence, the calibration error, and the recalibration of confidences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import OneLabel, TooFewItems

BINS = 15
ITEMS_MIN = 10  # with fewer, one decision alone moves the accuracy by more than a tenth


@dataclass(frozen=True, slots=True)
class Bin:
    """A confidence bin (``low``, ``high``]: its number of items, mean confidence and accuracy."""

    low: float
    high: float
    count: int
    value: float
    accuracy: float


def by_confidence(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> list[Bin]:
    """Return the non-empty bins of equal width over [0, 1], ascending; 0 is in the first.

    ``confidences`` and ``correct`` are (n,); their order makes no difference to any bit.
    """
    highs = np.arange(1, bins + 1) / bins
    lows = np.concatenate([[0.0], highs[:-1]])
    numbers = np.searchsorted(highs, confidences, side="left")
    return [
        Bin(
            low=float(lows[number]),
            high=float(highs[number]),
            count=int(np.count_nonzero(inside)),
            value=math.fsum(confidences[inside]) / np.count_nonzero(inside),
            accuracy=float(correct[inside].mean()),
        )
        for number in np.unique(numbers)
        for inside in [numbers == number]
    ]


def calibration_error(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Return Σ n_b / n · |accuracy − confidence| over bins b of equal width (Naeini et al., 2015).

    Raises TooFewItems if there are no decisions.
    """
    if not len(confidences):
        raise TooFewItems("decisions", got=0, needed=1)
    gaps = (
        each.count * abs(each.accuracy - each.value)
        for each in by_confidence(confidences, correct, bins)
    )
    return math.fsum(gaps) / len(confidences)


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A monotone curve from the winner's share to expected accuracy, linear between its points.

    ``confidences`` ascend strictly from 0 to 1, each with its accuracy. The curve holds for the
    rule whose decisions it was fitted on.
    """

    confidences: tuple[float, ...]
    accuracies: tuple[float, ...]

    def apply(self, confidences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected accuracy at each of ``confidences`` (n,), in [0, 1], monotone."""
        next_point = np.searchsorted(self.confidences, confidences, side="right")
        ceilings = np.append(self.accuracies, 1.0)[next_point]
        # Interpolation may exceed the next point by a rounding error.
        curve = np.interp(confidences, self.confidences, self.accuracies)
        return cast(NDArray[np.float64], np.minimum(curve, ceilings))


class Pool(NamedTuple):
    """Decisions of adjacent confidences that share one accuracy, ``right`` / ``items``."""

    right: int
    items: int
    low: float
    high: float


def check_calibratable(label_counts: Mapping[str, int], queries: int | None = None) -> None:
    """Check that a memory can be calibrated, given the number of its entries with each label.

    ``queries`` is the number of queries to calibrate by; if None, the memory's own entries are the
    queries. Raises TooFewItems, OneLabel.
    """
    items = "entries" if queries is None else "queries"
    asked = sum(label_counts.values()) if queries is None else queries
    if asked < ITEMS_MIN:
        raise TooFewItems(items, got=asked, needed=ITEMS_MIN)
    if not label_counts:
        raise TooFewItems("entries", got=0, needed=2)
    if len(label_counts) == 1:
        raise OneLabel(next(iter(label_counts)))


def fit(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> Recalibration:
    """Fit an isotonic regression to decisions (n,); to none, it is the identity.

    It assumes nothing but that a larger share is right at least as often, which suits every voting
    rule. Calibrated on one half of natural16 (k = 50, ``rank``) and measured on the other, 30
    times, the calibration error fell from 0.123 to 0.028; Platt scaling reached 0.035 and beta
    calibration 0.034. Two imaginary decisions, a wrong one at 0 and a right one at 1, give the
    curve its ends, and keep a run of right or wrong decisions from making it flat.
    """
    pools = pooled(
        np.concatenate([[0.0], confidences, [1.0]]), np.concatenate([[False], correct, [True]])
    )
    points = {
        confidence: pool.right / pool.items
        for pool in pools
        for confidence in (pool.low, pool.high)
    }
    return Recalibration(tuple(points), tuple(points.values()))


def pooled(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[Pool]:
    """Pool adjacent violators (Ayer et al., 1955): return ascending pools of ascending accuracy.

    Decisions of equal confidence are one pool from the start. Accuracies are compared as fractions
    of integers.
    """
    values, numbers = np.unique(confidences, return_inverse=True)
    counts = np.bincount(numbers)
    rights = np.bincount(numbers[correct], minlength=len(values))
    pools: list[Pool] = []
    for value, right, count in zip(values.tolist(), rights.tolist(), counts.tolist(), strict=True):
        pool = Pool(right, count, value, value)
        while pools and pools[-1].right * pool.items >= pool.right * pools[-1].items:
            last = pools.pop()
            pool = Pool(last.right + pool.right, last.items + pool.items, last.low, pool.high)
        pools.append(pool)
    return pools
