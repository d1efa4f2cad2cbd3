"""Error consistency: agreement on errors beyond what accuracies explain.

Geirhos, Meding and Wichmann (2020).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ACCURACY_DIFFERENCE, OBSERVED, EXPECTED, ERROR = range(4)
MEASURES = (
    "accuracy_difference",
    "observed_consistency",
    "expected_consistency",
    "error_consistency",
)
"""The rows of every array of measures; the accuracy difference is squared, as published."""


def compare(
    correct: NDArray[np.bool_], first: ArrayLike, second: ArrayLike, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the four MEASURES of pairs of decision makers on one condition: (4, pairs, r).

    MEASURES are the squared accuracy difference and the observed, expected and error consistency.
    ``correct`` (m, n) says which of n pictures m makers got right; ``first`` and ``second`` are its
    rows for each pair; the r rows of ``weights`` (r, n) say how often each picture counts. Error
    consistency is nan if both makers are always right, or both always wrong: chance then explains
    all agreement. Toolboxes give 1.
    """
    first, second = np.asarray(first, np.intp), np.asarray(second, np.intp)
    counts = weights.sum(axis=1)
    hits = correct @ weights.T
    agreed = (correct[first] == correct[second]) @ weights.T
    with np.errstate(invalid="ignore"):  # rows that weigh nothing
        right = hits / counts
        observed = agreed / counts
    a, b = right[first], right[second]
    expected = a * b + (1 - a) * (1 - b)
    error = np.full_like(observed, np.nan)
    np.divide(observed - expected, 1 - expected, out=error, where=expected < 1)
    return np.stack([(a - b) ** 2, observed, expected, error])


def mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Average over an axis and leave nan out; nan where all values are nan."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    means: NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def average(conditions: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Average measures, as returned by ``compare``, over conditions: (4, pairs, rows).

    Conditions are not pooled, since their differences in difficulty would count as agreement.
    """
    return mean(np.stack(conditions), axis=0)
