"""95 % intervals of an experiment, by resampling its pictures or its seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from visual_memory_benchmarks.metrics import bootstrap
from visual_memory_benchmarks.metrics.bootstrap import (
    REACH,
    RESAMPLES,
    Estimate,
    bca,
    estimate,
    number,
)

PICTURES = (
    "95 %, BCa bootstrap over the pictures asked about (1,000 draws); the memory is taken as given"
)
SEEDS = (
    "95 %, over seeds: Student's t for means; the BCa bootstrap (1,000 draws), widened as "
    "Student's t asks of few, for what is made of several columns; each seed deals the pictures "
    "out anew, so the pool of pictures is taken as given"
)
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5 % points of Student's t with 1 to 9 degrees of freedom."""
Values = bootstrap.Values


def weights(n: int, seed: int = 0) -> Values:
    """Return the weights of n pictures in each row of the bootstrap: (1 + RESAMPLES + GROUPS, n).

    Row 0 has 1 for each, the next rows are resamples, and the last leave out one group each.
    """
    return bootstrap.weights(n, RESAMPLES, [seed, n])


def over_pictures(scores: ArrayLike) -> Estimate:
    """Estimate the mean of scores (n,), or (trials, n) of the same pictures; nan is left out."""
    rows = np.atleast_2d(np.asarray(scores, np.float64))
    queries = ~np.isnan(rows)
    counts = queries.sum(axis=0)
    totals = np.where(queries, rows, 0.0).sum(axis=0)
    return ratio(totals[counts > 0], counts[counts > 0])


def ratio(totals: ArrayLike, counts: ArrayLike) -> Estimate:
    """Estimate Σ ``totals`` / Σ ``counts``, both (n,), by resampling the n pictures."""
    totals, counts = np.asarray(totals, np.float64), np.asarray(counts, np.float64)
    if not len(totals):
        return Estimate(None, None, None)
    drawn = weights(len(totals))
    below = drawn @ counts
    shares: Values = np.full(len(drawn), np.nan)
    np.divide(drawn @ totals, below, out=shares, where=below > 0)
    return estimate(shares)


def over_seeds(values: ArrayLike, statistic: Callable[[Values], float] | None = None) -> Estimate:
    """Estimate the mean of values (s,), or a statistic of values (s, …), one row for each seed.

    A mean gets Student's interval. Bootstrap draws of few seeds scatter too little, so the interval
    of a statistic is widened by the factor with which a normal mean would get Student's interval
    (Hesterberg, 2015). nan and a single seed get no interval.
    """
    rows = np.asarray(values, np.float64)
    of = statistic or (lambda drawn: float(drawn.mean()))
    s, value = len(rows), of(rows)
    if s < 2 or np.isnan(value):
        return Estimate(number(value), None, None)
    if statistic is None:
        half = student(s - 1) * float(rows.std(ddof=1)) / s**0.5
        return Estimate(value, value - half, value + half)
    draws = np.random.default_rng([0, s]).integers(s, size=(RESAMPLES, s))
    drawn = np.array([of(rows[row]) for row in draws])
    left_out = np.array([of(np.delete(rows, at, axis=0)) for at in range(s)])
    return bca(value, drawn, left_out, (s / (s - 1)) ** 0.5 * student(s - 1))


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t for ``freedom`` degrees of freedom.

    Beyond the table it is approximate, to .1 %.
    """
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = REACH
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))
