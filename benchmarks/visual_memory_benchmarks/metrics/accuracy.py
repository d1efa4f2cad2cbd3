"""Accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.trials.panel import Panel


def accuracy(
    panels: Sequence[Panel], weights: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the share of right answers in all trials of all panels and makers together: (r,).

    ``weights`` has r rows of weights of each panel's n pictures: (r, n). The share of a row is
    nan if its weights sum to 0.
    """
    pairs = list(zip(panels, weights, strict=True))
    hits = np.sum([panel.correct.sum(axis=0) @ each.T for panel, each in pairs], axis=0)
    trials = np.sum([len(panel.makers) * each.sum(axis=1) for panel, each in pairs], axis=0)
    shares: NDArray[np.float64] = np.full(len(trials), np.nan)
    np.divide(hits, trials, out=shares, where=trials > 0)
    return shares
