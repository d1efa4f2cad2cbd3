"""The error bounds of scores: they prove which vectors cannot be among the nearest.

A score differs from the dot product of two unit vectors by an error at most. So where k rows score
``lowest`` or more, k rows have products of ``lowest`` − error or more, and a row that scores less
than ``reach`` has a smaller product than these: it cannot be among the k nearest. No other property
of a scan is relied on. With norms up to 1 + 1e-6, products may lie beyond ±1, where the clamped
distances are all equal.
"""

from __future__ import annotations

from visual_memory_index.rows.distances import UNIT_TOLERANCE


def reach(lowest: float, error: float) -> float:
    """Return the score that the k nearest rows reach, if k rows score ``lowest`` or more.

    It is minus infinity if their products may be −1 or less: nothing is further away.
    """
    product = min(lowest - error, 1.0)
    return product - error if product > -1.0 else -float("inf")


def float32_error(dimension: int) -> float:
    """Return the largest error of float32 dot products of unit vectors, summed in any order."""
    return rounding_error(dimension, 2.0**-24) + 1e-12


def rounding_error(dimension: int, unit: float) -> float:
    """Return a bound of the error of a sum of ``dimension`` products of unit vectors, in any order.

    It is d·u / (1 − d·u), where u is ``unit`` (Higham, Accuracy and Stability of Numerical
    Algorithms, eq. 3.5), times the norms, which are at most 1 + 1e-6.
    """
    rounding = dimension * unit
    return rounding / (1.0 - rounding) * (1.0 + UNIT_TOLERANCE) ** 2
