"""Resampling of seeds and items, both at once, and p-values of differences.

Answers to pictures of one item are not independent, also if the item is tested with several seeds.
So each draw of items is used for all pictures and all seeds, and seeds are drawn besides (the
pigeonhole bootstrap; Owen, 2007). Its intervals are too wide rather than too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.metrics.bootstrap import counts
from visual_memory_benchmarks.trials.trials import Texts

Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """The items, such as objects, by which pictures are resampled, and the draws of them.

    ``counts`` says how often each item is in each draw: (1 + resamples, items); row 0 has each
    once.
    """

    items: Texts
    counts: Draws

    def weights(self, items: Texts, draws: slice = slice(None)) -> Draws:
        """Return how often each resampling draw has each picture's item, as weights (draws, n).

        ``items`` names the item of each of the n pictures; ``draws`` selects draws.
        """
        weights: Draws = self.counts[draws, np.searchsorted(self.items, items)]
        return weights


def population(items: Texts, resamples: int, seed: int) -> Population:
    """Draw the distinct items with replacement, ``resamples`` times; row 0 has each once."""
    names = np.unique(items)
    return Population(names, counts(len(names), resamples, np.random.default_rng(seed)))


def seed_weights(seeds: int, resamples: int, seed: int) -> Draws:
    """Return the weights of a mean over the seeds: (1 + resamples, seeds), rows summing to 1.

    Means of n seeds drawn from n have only (n − 1) / n of the variance. The weights are spread to
    correct that, so a few are negative if seeds are few.
    """
    drawn = counts(seeds, resamples, np.random.default_rng(seed))
    widened = 1 + (drawn - 1) * np.sqrt(seeds / max(1, seeds - 1))
    weights: Draws = widened / seeds
    return weights


def p_value(draws: Draws) -> float | None:
    """Return the two-sided p-value of a difference, twice the share of draws on the far side of 0.

    ``draws`` has the difference in row 0, then its values in resamples. At least 2 / (1 +
    resamples), and 1 if nothing differs; None if row 0 or all resamples are undefined.
    """
    drawn = draws[1:][~np.isnan(draws[1:])]
    if np.isnan(draws[0]) or not drawn.size:
        return None
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (1 + tail) / (1 + drawn.size))


def holm(values: Sequence[float]) -> list[float]:
    """Adjust the p-values of one family for its size (Holm, 1979)."""
    ordered = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate(factors * np.asarray(values)[ordered]))
    result = np.empty(len(values))
    result[ordered] = adjusted
    return [float(each) for each in result]
