"""The rank of the score that covers a given share of all cases."""

from __future__ import annotations

import math
from fractions import Fraction

from visual_memory_index.errors import BadCoverage


def exact(coverage: float) -> Fraction:
    """``coverage`` as it is written in decimal. Raises BadCoverage outside of (0, 1)."""
    if not 0.0 < coverage < 1.0:
        raise BadCoverage(coverage)
    return Fraction(str(coverage))


def rank_at(coverage: float, count: int) -> int:
    """⌈coverage · count⌉. Raises BadCoverage."""
    return math.ceil(exact(coverage) * count)  # in float64, 0.55 · 100 is 55.00000000000001
