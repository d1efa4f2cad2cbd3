"""Drawing seeds and items again, both at once, and what the draws say of a difference.

Pictures of one item, and one item in the tests of several seeds, are not independent. So an item
is drawn for all pictures and all seeds alike, and seeds are drawn on top of it (the pigeonhole
bootstrap; Owen, 2007). It errs on the wide side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.trials.trials import Texts

Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Items and how often each counts: (1 + resamples, items); once each in row 0."""

    items: Texts
    counts: Draws

    def weights(self, items: Texts, draws: slice = slice(None)) -> Draws:
        """Of pictures by their item, in some of the draws: (draws, n)."""
        weights: Draws = self.counts[draws, np.searchsorted(self.items, items)]
        return weights


def population(items: Texts, resamples: int, seed: int) -> Population:
    """Every item once, drawn with replacement."""
    names = np.unique(items)
    return Population(names, _counts(len(names), resamples, seed))


def seed_weights(seeds: int, resamples: int, seed: int) -> Draws:
    """How much of a mean over the seeds each is: (1 + resamples, seeds), rows summing to 1.

    n seeds drawn from n scatter by (n − 1) / n of what seeds do; the weights make up for it, and
    so a few are negative where seeds are few.
    """
    counts = _counts(seeds, resamples, seed)
    widened = 1 + (counts - 1) * np.sqrt(seeds / max(1, seeds - 1))
    weights: Draws = widened / seeds
    return weights


def p_value(draws: Draws) -> float | None:
    """Two-sided, of a difference that is row 0: how often the draws lie on the other side of 0.

    At least 2 / (1 + resamples), and 1 where nothing differs; None where it is undefined.
    """
    drawn = draws[1:][~np.isnan(draws[1:])]
    if np.isnan(draws[0]) or not drawn.size:
        return None
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (1 + tail) / (1 + drawn.size))


def holm(values: Sequence[float]) -> list[float]:
    """The p-values of one family, adjusted for its size (Holm, 1979)."""
    ordered = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate(factors * np.asarray(values)[ordered]))
    result = np.empty(len(values))
    result[ordered] = adjusted
    return [float(each) for each in result]


def _counts(n: int, resamples: int, seed: int) -> Draws:
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    rows = np.arange(resamples)[:, None] * n
    counts = np.bincount((drawn + rows).ravel(), minlength=resamples * n)
    return np.concatenate([np.ones((1, n)), counts.reshape(resamples, n).astype(np.float64)])
