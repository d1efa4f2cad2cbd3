"""Intervals by drawing the pictures again (Efron, 1979), paired whenever the pictures are the same.

Every statistic here takes weights of pictures and gives one value for each row of them. Row 0 is
the pictures themselves, the other rows are draws, and a difference of two statistics on the same
rows is a paired comparison.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.panel import Panel

RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Resampling:
    """How often pictures are drawn again, and from which seed."""

    resamples: int = RESAMPLES
    seed: int = 0

    def weights(self, panel: Panel) -> NDArray[np.float64]:
        """How often each of the panel's n pictures counts: (1 + resamples, n), whole numbers.

        A function of seed, dataset, condition and n: two runs over the same pictures draw alike.
        """
        n = len(panel.images)
        generator = np.random.default_rng([self.seed, *panel.key.encode()])
        drawn = generator.integers(n, size=(self.resamples, n))
        row = np.arange(self.resamples)[:, None] * n
        counts = np.bincount((drawn + row).ravel(), minlength=self.resamples * n)
        once = np.ones((1, n))
        return np.concatenate([once, counts.reshape(self.resamples, n).astype(np.float64)])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its percentile interval; None where it is undefined.

    Draws in which the statistic is undefined are left out of the interval. Drawing again adds
    spread, so that a squared difference lies at the lower end of its interval.
    """

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


def estimate(draws: NDArray[np.float64], coverage: float = COVERAGE) -> Estimate:
    """From one value for each row of weights, nan where undefined."""
    value = None if np.isnan(draws[0]) else float(draws[0])
    defined = draws[1:][~np.isnan(draws[1:])]
    if value is None or not defined.size:
        return Estimate(value, None, None)
    low, high = np.quantile(defined, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Estimate(value, float(low), float(high))
