"""Dichotomous difficulty: pictures all get right, none does, the rest (Meding et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Difficulty:
    """Masks of n pictures: all makers get ``trivial`` right, none ``impossible``, some ``rest``."""

    trivial: NDArray[np.bool_]
    impossible: NDArray[np.bool_]

    @property
    def rest(self) -> NDArray[np.bool_]:
        return ~(self.trivial | self.impossible)

    def to_json(self) -> dict[str, int]:
        masks = {"trivial": self.trivial, "impossible": self.impossible, "rest": self.rest}
        return {name: int(mask.sum()) for name, mask in masks.items()}


def difficulty(correct: NDArray[np.bool_]) -> Difficulty:
    """Find the pictures that all, or none, of the m makers of ``correct`` (m, n) get right."""
    right = correct.sum(axis=0)
    return Difficulty(right == len(correct), right == 0)
