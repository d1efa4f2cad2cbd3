"""Confusion matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.trials.panel import Panel


def confusion(panel: Panel) -> NDArray[np.int64]:
    """Return counts (m, shown, answered) over the panel's categories; the last answer is ``na``."""
    m, c = len(panel.makers), len(panel.categories)
    answered = np.where(panel.responses < 0, c, panel.responses)
    cells = (np.arange(m)[:, None] * c + panel.shown) * (c + 1) + answered
    return np.bincount(cells.ravel(), minlength=m * c * (c + 1)).reshape(m, c, c + 1)
