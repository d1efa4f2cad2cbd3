"""Confusion matrices, and the spread of their answers over the categories."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.trials.panel import Panel


def confusion(panel: Panel) -> NDArray[np.int64]:
    """Return counts (m, shown, answered) for each maker by category; the last answer is ``na``."""
    m, c = len(panel.makers), len(panel.categories)
    answered = np.where(panel.responses < 0, c, panel.responses)
    cells = (np.arange(m)[:, None] * c + panel.shown) * (c + 1) + answered
    return np.bincount(cells.ravel(), minlength=m * c * (c + 1)).reshape(m, c, c + 1)


def response_entropy(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the response entropy (Geirhos et al., 2018) for each maker (m,), in bits.

    That is −Σ p log₂ p over each category's share p of all answers, those of ``na`` included: at
    most log₂ of the number of categories, 4 for 16. ``confusions`` are as ``confusion`` returns
    them.
    """
    answers = confusions.sum(axis=1)
    shares = answers[:, :-1] / answers.sum(axis=1, keepdims=True)
    logarithms = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies: NDArray[np.float64] = (shares * -logarithms).sum(axis=1)
    return entropies
