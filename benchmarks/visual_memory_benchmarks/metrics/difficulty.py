"""Dichotomous difficulty: pictures all get right, none does, the rest (Meding et al., 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def difficulty(correct: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Return masks of the n pictures of ``correct`` (m, n) by difficulty.

    All m makers get ``trivial`` pictures right, none ``impossible`` ones, and some the ``rest``.
    """
    right = correct.sum(axis=0)
    trivial, impossible = right == len(correct), right == 0
    return {"trivial": trivial, "impossible": impossible, "rest": ~(trivial | impossible)}
