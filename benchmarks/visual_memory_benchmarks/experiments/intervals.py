"""95 % intervals of an experiment, by drawing its pictures or its seeds again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from visual_memory_benchmarks import bootstrap
from visual_memory_benchmarks.bootstrap import (
    REACH,
    RESAMPLES,
    Estimate,
    bca,
    estimate,
    percentiles,
)

PICTURES = (
    "95 %, BCa bootstrap over the pictures asked about (1,000 draws); the memory is taken as given"
)
SEEDS = (
    "95 %, bootstrap over seeds (1,000 draws, percentiles widened as Student's t asks of few); "
    "each seed deals the pictures out anew, so the pool of pictures is taken as given"
)
Values = bootstrap.Values


def weights(n: int, seed: int = 0) -> Values:
    """How often each of n pictures counts, as ``bootstrap`` has them."""
    return bootstrap.weights(n, RESAMPLES, [seed, n])


def over_pictures(scores: ArrayLike) -> Estimate:
    """The mean of scores (n,), or (trials, n) of the same pictures; nan where one was not asked."""
    rows = np.atleast_2d(np.asarray(scores, np.float64))
    asked = ~np.isnan(rows)
    counts = asked.sum(axis=0)
    totals = np.where(asked, rows, 0.0).sum(axis=0)
    return ratio(totals[counts > 0], counts[counts > 0])


def ratio(totals: ArrayLike, counts: ArrayLike) -> Estimate:
    """The sum of what each picture adds, by the sum of what it counts: shares of some of them."""
    totals, counts = np.asarray(totals, np.float64), np.asarray(counts, np.float64)
    if not len(totals):
        return Estimate(None, None, None)
    drawn = weights(len(totals))
    below = drawn @ counts
    shares: Values = np.full(len(drawn), np.nan)
    np.divide(drawn @ totals, below, out=shares, where=below > 0)
    return estimate(shares)


def over_seeds(values: ArrayLike, statistic: Callable[[Values], float] | None = None) -> Estimate:
    """The mean of values (s,), or a statistic of values (s, …), one row for each seed.

    Percentiles of few seeds lie too close; they are widened so that for a normal mean they
    come to Student's interval (Hesterberg, 2015). A mean scatters evenly, a statistic need not and
    has BCa's. nan and one seed alone have no interval.
    """
    rows = np.asarray(values, np.float64)
    of = statistic or (lambda drawn: float(drawn.mean()))
    s, value = len(rows), of(rows)
    if s < 2:
        return Estimate(_defined(value), None, None)
    draws = np.random.default_rng([0, s]).integers(s, size=(RESAMPLES, s))
    drawn = np.array([of(rows[row]) for row in draws])
    wide = (s / (s - 1)) ** 0.5 * student(s - 1)
    if statistic is None:
        return percentiles(value, drawn, wide)
    left_out = np.array([of(np.delete(rows, at, axis=0)) for at in range(s)])
    return bca(value, drawn, left_out, wide)


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t, to 1 % from 4 degrees of freedom on (Cornish-Fisher)."""
    z = REACH
    terms: Sequence[float] = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
