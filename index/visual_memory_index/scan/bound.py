"""What the scores of a scan prove: which vectors cannot be as near as others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.scan.distances import UNIT_TOLERANCE


@dataclass(frozen=True, slots=True)
class Bound:
    """Of scores that are at most ``error`` from the dot product of any unit query and any row.

    With the k-th best score s, the k rows scored s or more have products of s − error or more, and
    whatever is as near scores s − 2·error or more, the floor: nothing below it can be among the k.

    Nothing else is believed of a scan. Another one, of quantised vectors say, has its own
    ``error``: the largest of any row, with rounding. Since floors are kept with neighbour lists,
    also in the store (``counting.LISTS``), those of a scan with a smaller error are void for it.
    """

    error: float

    def floor(self, score: np.float32) -> np.float64:
        """The one of one score."""
        floor: np.float64 = self.floors(np.array([score]))[0]
        return floor

    def floors(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """The lowest score that a vector as near as the one scored so can have.

        Norms up to 1 + 1e-6 take products past ±1, where the clamped distances are all equal.
        """
        products = np.minimum(scores.astype(np.float64) - self.error, 1.0)
        return np.where(products > -1.0, products - self.error, -np.inf)


def float32_bound(dimension: int) -> Bound:
    """Of float32 inner products of two unit vectors, summed in any order.

    d·u / (1 − d·u) with u = 2⁻²⁴ (Higham, Accuracy and Stability of Numerical Algorithms,
    eq. 3.5), times the norms, which are at most 1 + 1e-6.
    """
    rounding = dimension * 2.0**-24
    return Bound(rounding / (1.0 - rounding) * (1.0 + UNIT_TOLERANCE) ** 2 + 1e-12)
