"""Scaling: error over the size of the memory, and which law it follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np

from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Gallery
from visual_memory_benchmarks.laboratory.intervals import Values, over_seeds
from visual_memory_benchmarks.laboratory.laboratory import Laboratory, remember
from visual_memory_benchmarks.laboratory.result import Row, Tables

LAWS: Mapping[str, Callable[[Values], Values]] = MappingProxyType(
    {"10^b (log10 N)^a": lambda sizes: np.log10(np.log10(sizes)), "10^b N^a": np.log10}
)
"""Laws of the error over the size N, the published one first; each is a line over this function."""


@partial(
    Experiment,
    "Error over the size of the memory, and two laws fitted to it",
    papers=(8, 4),
    data=("natural16",),
    intervals=f"{intervals.SEEDS}; of fits, BCa over seeds",
    comparison=(
        "Published sizes begin at 1,000 entries of 1,000 classes, here all end before: neither "
        "errors nor exponents may be compared, only that the error falls as the memory grows."
    ),
)
def scaling(
    laboratory: Laboratory,
    *,
    sizes: Sequence[int] = (20, 40, 80, 160, 320, 600),
    ks: Sequence[int] = (1, 10, 50),
    seeds: int = 10,
) -> Tables:
    """Grow a memory at random, and classify the quarter of the pictures that it never holds."""
    gallery = laboratory.gallery("natural16")
    errors = np.empty((seeds, len(sizes), len(ks)))
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        pool, queries = gallery.parts((0.75, 0.25), rng)
        pool = pool.at(rng.permutation(len(pool)))
        memory = laboratory.memory(f"seed {seed}, 0 entries", _between(pool, 0, 0))
        for row, (before, size) in enumerate(zip((0, *sizes), sizes, strict=False)):
            remember(memory, _between(pool, before, size))
            laboratory.note(f"seed {seed}, {size} entries", memory)
            for column, k in enumerate(ks):
                right = questions.right(memory, queries, k=k)
                errors[seed, row, column] = 100 * (1 - right.mean())
    return {
        "sizes": [
            {"size": size, "k": k, "error_percent": over_seeds(errors[:, row, column])}
            for column, k in enumerate(ks)
            for row, size in enumerate(sizes)
        ],
        "fits": [
            fit(law, k, np.array(sizes, np.float64), errors[:, :, column])
            for column, k in enumerate(ks)
            for law in LAWS
        ],
    }


def _between(pool: Gallery, before: int, size: int) -> Gallery:
    return pool.at(np.arange(before, min(size, len(pool))))


def fit(law: str, k: int, sizes: Values, errors: Values) -> Row:
    """Fit a law of LAWS, a line over logarithms, to the mean error at each of ``sizes``.

    ``errors`` are (seeds, sizes). Means of 0 are left out; nan if fewer than two are left.
    """

    def line(drawn: Values) -> tuple[float, float, float]:
        means = drawn.mean(axis=0)
        positive = means > 0
        if positive.sum() < 2:
            return np.nan, np.nan, np.nan
        x, y = LAWS[law](sizes[positive]), np.log10(means[positive])
        a, b = np.polyfit(x, y, 1)
        return float(a), float(b), float(np.sqrt(np.mean((a * x + b - y) ** 2)))

    return {
        "law": law,
        "k": k,
        "a": over_seeds(errors, lambda drawn: line(drawn)[0]),
        "b": over_seeds(errors, lambda drawn: line(drawn)[1]),
        "residual_log10": over_seeds(errors, lambda drawn: line(drawn)[2]),
    }
