"""Intervals by drawing the pictures again (Efron, 1979), paired whenever the pictures are the same.

Every statistic here takes weights of pictures and gives one value for each row of them. Row 0 is
the pictures themselves, the next rows are draws, and in the last ``GROUPS`` rows one group of
pictures after another is left out. A difference of two statistics on the same rows is a paired
comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.trials.panel import Panel

RESAMPLES = 1000
GROUPS = 100
COVERAGE = 0.95
NORMAL = NormalDist()
REACH = NORMAL.inv_cdf((1 + COVERAGE) / 2)  # of an interval to either side, in standard deviations

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Resampling:
    """Parameters of the bootstrap: the number of resamples and the seed."""

    resamples: int = RESAMPLES
    seed: int = 0

    def weights(self, panel: Panel) -> Values:
        """Return the weights of the panel's n pictures in each row: (1 + resamples + GROUPS, n).

        Row 0 has 1 for each, the next rows are resamples, and the last leave out one group of
        pictures each. Weights depend on seed, dataset, condition and n alone: two runs over the
        same pictures draw alike.
        """
        return weights(len(panel.images), self.resamples, [self.seed, *panel.key.encode()])


def weights(n: int, resamples: int, seed: list[int]) -> Values:
    """Return the weights of n pictures in each row, whole numbers: (1 + resamples + GROUPS, n).

    Row 0 has 1 for each, the next rows are resamples, and the last leave out one of GROUPS random
    groups of pictures each.
    """
    generator = np.random.default_rng(seed)
    drawn = counts(n, resamples, generator)
    group = generator.permutation(n) % GROUPS
    kept = (group != np.arange(GROUPS)[:, None]).astype(np.float64)
    return np.concatenate([drawn, kept])


def counts(n: int, resamples: int, generator: np.random.Generator) -> Values:
    """Count how often each of n items is drawn with replacement: (1 + resamples, n); 1 in row 0."""
    drawn = generator.integers(n, size=(resamples, n))
    row = np.arange(resamples)[:, None] * n
    found = np.bincount((drawn + row).ravel(), minlength=resamples * n)
    return np.concatenate([np.ones((1, n)), found.reshape(resamples, n)])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval, ``low`` to ``high``; None where undefined."""

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


def number(value: float) -> float | None:
    """Convert a number for JSON: None if it is nan."""
    return None if np.isnan(value) else float(value)


def estimate(values: Values, *, least: float = -np.inf) -> Estimate:
    """Return the estimate of a statistic from its value for each row, as of ``weights``.

    Values are nan where undefined. No end of the interval is below ``least``. It is widened if it
    misses the value of row 0, which happens for a square near 0, as its draws lie above the value.
    """
    found = bca(values[0], values[1:-GROUPS], values[-GROUPS:])
    if found.value is None or found.low is None or found.high is None:
        return found
    low, high = min(found.low, found.value), max(found.high, found.value)
    return Estimate(found.value, max(least, low), max(least, high))


def bca(value: float, drawn: Values, left_out: Values, reach: float = REACH) -> Estimate:
    """Return ``value`` with its bias-corrected and accelerated interval (Efron, 1987).

    ``drawn`` are its values in resamples, ``left_out`` its values without one picture, or one
    group, at a time. If the value lies to one side of its draws, as a squared difference does, the
    ends are moved as far to the other side; beyond all draws a normal distribution is assumed.
    ``reach`` is in standard deviations.
    """
    drawn, left_out = drawn[~np.isnan(drawn)], left_out[~np.isnan(left_out)]
    if np.isnan(value) or not drawn.size:
        return Estimate(number(value), None, None)
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    bias = NORMAL.inv_cdf(min(max(below, 0.5 / drawn.size), 1 - 0.5 / drawn.size))
    acceleration = _acceleration(left_out)
    ends = [bias + z / max(1 - acceleration * z, 0.05) for z in (bias - reach, bias + reach)]
    low, high = _quantiles(drawn, ends)
    return Estimate(float(value), low, high)


def _acceleration(left_out: Values) -> float:
    """Return the acceleration of a BCa interval, at most ± 1/6; 0 if it is undefined.

    The jackknife estimates it: ``left_out`` are values without one picture, or one group, at a
    time.
    """
    influence = left_out.mean() - left_out if left_out.size else left_out
    size = (influence**2).sum() ** 1.5
    return float((influence**3).sum() / (6 * size)) if size else 0.0


def _quantiles(drawn: Values, ends: Sequence[float]) -> list[float]:
    """Return the Φ(z) quantile of the draws for each z of ``ends``.

    Beyond the ends of the draws, the quantile of a normal distribution is returned if farther out.
    """
    shares = [NORMAL.cdf(z) for z in ends]
    found: list[float] = np.quantile(drawn, shares).tolist()
    for at, (z, share) in enumerate(zip(ends, shares, strict=True)):
        if not 1 <= share * drawn.size <= drawn.size - 1:
            normal = float(drawn.mean() + z * drawn.std())
            found[at] = min(found[at], normal) if z < 0 else max(found[at], normal)
    return found


def percentiles(value: float, drawn: Values) -> Estimate:
    """Return ``value`` with the percentile interval of the values ``drawn`` by resampling.

    It suits a value about which draws scatter evenly, as about a mean; nan among draws is left out.
    """
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not drawn.size:
        return Estimate(number(value), None, None)
    low, high = np.quantile(drawn, [NORMAL.cdf(-REACH), NORMAL.cdf(REACH)])
    return Estimate(float(value), float(low), float(high))
