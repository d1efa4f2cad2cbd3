"""Open-set rejection: a threshold on the distance to the nearest entry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import TooFewItems
from visual_memory_index.votes.coverage import rank_at

KEPT = 0.95


def threshold(known: NDArray[np.float64], kept: float = KEPT) -> float:
    """Return the ⌈kept · n⌉-th smallest of ``known`` (n,), the largest distance that is accepted.

    Each is the distance of a known query to its nearest entry. Raises TooFewItems, BadCoverage.
    """
    rank = rank_at(kept, len(known))
    if not rank:
        raise TooFewItems("known queries", got=0, needed=1)
    return float(np.partition(known, rank - 1)[rank - 1])
