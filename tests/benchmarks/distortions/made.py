"""Generated pictures."""

from __future__ import annotations

import numpy as np

from visual_memory_benchmarks.distortions.picture import Picture

SIDE = 224


def walked(seed: int, height: int = SIDE, width: int = SIDE) -> Picture:
    """Return random walks in both directions: neighbouring pixels are alike, as in photographs."""
    steps = np.random.default_rng(seed).normal(0, 8, (2, height, width, 3))
    levels = 128 + steps[0].cumsum(0) + steps[1].cumsum(1)
    picture: Picture = np.clip(levels, 0, 255).astype(np.uint8)
    return picture
