"""The balance of labels: each vote counts less the more entries have its label."""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DIGITS = Context(prec=40)  # then rounded to float64: equal bits on every processor


def balance_factors(sizes: NDArray[np.int64], balance: float) -> NDArray[np.float64]:
    """Return ``sizes`` to the power of −``balance``, in the shape of ``sizes``, which are ≥ 1.

    With a ``balance`` of 0 every vote counts alike; with 1 every label has as many votes as every
    other if all of its entries vote. It is a prior correction: dividing by the frequencies of the
    labels, to that power (Menon et al., 2021, Long-tail learning via logit adjustment, section 4).
    """
    found, numbers = np.unique(sizes, return_inverse=True)
    factors = np.array([_factor(size, balance) for size in found.tolist()], dtype=np.float64)
    return factors[numbers].reshape(sizes.shape)


@lru_cache(maxsize=1 << 14)
def _factor(size: int, balance: float) -> float:
    return float(DIGITS.power(Decimal(size), -Decimal(balance)))
