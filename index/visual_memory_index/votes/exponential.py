"""exp in float64 by additions and multiplications alone, so that IEEE 754 fixes every bit.

The exp of NumPy and of C libraries differs in the last place from one processor to another.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LN2_UPPER = float.fromhex("0x1.62e42feep-1")  # few enough digits that its multiples are exact
LN2_LOWER = float.fromhex("0x1.a39ef35793c76p-33")  # the rest
TERMS = 13  # further terms are below half a unit in the last place


def exp(powers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return e to each of ``powers``, from −700 to 700, off by one unit in the last place at most.

    With n = round(x / ln 2) and the rest r: 2ⁿ · Σ rⁱ / i! (Cody and Waite, 1980, chapter 6).
    """
    doublings = np.rint(powers / math.log(2))
    rest = (powers - doublings * LN2_UPPER) - doublings * LN2_LOWER
    total = np.ones_like(rest)
    for term in range(TERMS, 0, -1):
        total = 1.0 + total * rest / term
    scaled: NDArray[np.float64] = np.ldexp(total, doublings.astype(np.intc))
    return scaled
