"""Label noise: accuracy with wrong labels, and with pruning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Texts
from visual_memory_benchmarks.laboratory.intervals import over_seeds
from visual_memory_benchmarks.laboratory.laboratory import Laboratory, without, without_some
from visual_memory_benchmarks.laboratory.result import Tables

METHODS = ("none", "soft", "hard", "random")


@partial(
    Experiment,
    "Label noise to 80 %, with soft and hard pruning",
    papers=(8,),
    data=("natural16",),
    intervals=intervals.SEEDS,
    comparison=(
        "No published row is of these pictures. Noise is even over all other labels; wrong labels "
        "that agree with each other do more harm."
    ),
)
def label_noise(
    laboratory: Laboratory,
    *,
    shares: Sequence[float] = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
    k: int = 50,
    count_k: int = 20,
    threshold: int = 10,
    seeds: int = 6,
) -> Tables:
    """Classify half of the pictures by the other half, a share of it under wrong labels.

    A hard prune takes entries that mislead ``threshold`` times or more among ``count_k``
    neighbours; a random one takes as many.
    """
    gallery = laboratory.gallery("natural16")
    found = np.empty((seeds, len(shares), len(METHODS)))
    pruned = np.empty((seeds, len(shares)))
    for seed in range(seeds):
        known, queries = gallery.parts((0.5, 0.5), np.random.default_rng(seed))
        for row, share in enumerate(shares):
            rng = np.random.default_rng([seed, round(1000 * share)])
            noisy = known.labelled(flipped(known.labels, share, rng))
            state = f"seed {seed}, {share:g} wrong"
            memory = laboratory.memory(state, noisy)
            found[seed, row, 0] = questions.accuracy(memory, queries, k=k)
            found[seed, row, 1] = questions.accuracy(memory, queries, k=k, reliability="soft")
            hard: dict[str, Any] = {"method": "hard", "k": count_k, "threshold": threshold}
            with without(memory, **hard) as misled:
                laboratory.note(f"{state}, hard", memory)
                found[seed, row, 2] = questions.accuracy(memory, queries, k=k)
            with without_some(memory, noisy.ids.tolist(), len(misled.ids), rng):
                laboratory.note(f"{state}, random", memory)
                found[seed, row, 3] = questions.accuracy(memory, queries, k=k)
            pruned[seed, row] = len(misled.ids) / len(noisy)
    return {
        "noise": [
            {
                "wrong_labels": share,
                "method": method,
                "accuracy": over_seeds(found[:, row, at]),
                "gain": over_seeds(found[:, row, at] - found[:, row, 0]),
                "pruned": over_seeds(pruned[:, row]) if method in ("hard", "random") else None,
            }
            for row, share in enumerate(shares)
            for at, method in enumerate(METHODS)
        ]
    }


def flipped(labels: Texts, share: float, rng: np.random.Generator) -> Texts:
    """Replace a random share of the labels, each by another label drawn evenly."""
    names, codes = np.unique(labels, return_inverse=True)
    wrong = rng.choice(len(codes), round(share * len(codes)), replace=False)
    if len(wrong):
        codes[wrong] = (codes[wrong] + rng.integers(1, len(names), len(wrong))) % len(names)
    return names[codes]
