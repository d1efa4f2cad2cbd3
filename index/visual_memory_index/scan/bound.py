"""The error bounds of scores: they prove which vectors cannot be among the nearest.

A row's score differs from its dot product with any unit query by at most the row's error. So k rows
have products of ``product_bound`` or more, and a row that scores less than its ``score_bounds`` has
a smaller product than these: it cannot be among the k nearest. No other property of a scan is
relied on. With norms up to 1 + 1e-6, products may lie beyond ±1, where the clamped distances are
all equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.scan.distances import UNIT_TOLERANCE


def product_bound(scores: NDArray[np.float32], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a lower bound of the k dot products that have these scores and errors.

    ``scores`` and ``errors`` are (…, k), the bounds (…).
    """
    lowest: NDArray[np.float64] = np.min(scores - errors, axis=-1)
    return np.minimum(lowest, 1.0)


def score_bounds(
    products: NDArray[np.float64] | np.float64, errors: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Return the lowest scores that rows with these ``errors`` and ``products`` or more can have.

    It is minus infinity if the product is −1 or less: nothing is further away.
    """
    return np.where(products > -1.0, products - errors, -np.inf)


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
