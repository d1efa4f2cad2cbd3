"""Reliability: the factor by which soft pruning multiplies the vote of a misleading entry."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.int64]

NUMERATOR = 1.75  # Geirhos et al., 2024, soft pruning


def reliability(v: Counts) -> NDArray[np.float64]:
    """Return 1.75 / (1 + v), but 1 where v = 0, as in Geirhos et al., 2024, section 3.3."""
    return np.where(v == 0, 1.0, NUMERATOR / (1.0 + v))
