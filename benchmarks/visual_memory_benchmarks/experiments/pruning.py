"""Pruning: how many entries can a memory lose without losing accuracy?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.intervals import over_seeds
from visual_memory_benchmarks.laboratory.laboratory import Laboratory, without, without_some
from visual_memory_benchmarks.laboratory.result import Tables

FRACTIONED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "random": {"method": "random"},
        "value": {"method": "value"},
        "label means, keep hard": {"method": "prototype", "keep": "hard"},
        "label means, keep easy": {"method": "prototype", "keep": "easy"},
        "16 clusters, keep hard": {"method": "prototype", "keep": "hard", "clusters": 16},
        "16 clusters, keep easy": {"method": "prototype", "keep": "easy", "clusters": 16},
    }
)
"""Methods that prune a given fraction."""


@partial(
    Experiment,
    "Pruning: kept fraction and accuracy, every method against random",
    papers=(4, 8),
    data=("natural16",),
    intervals=intervals.SEEDS,
    comparison=(
        "Sorscher et al. prune what networks are trained on, here entries lose their votes: only "
        "whether hard or easy ones should stay may be compared (easy ones where data are few). "
        "Published for a hard prune of 2 % of ImageNet's entries: 0.11 points more."
    ),
)
def pruning(
    laboratory: Laboratory,
    *,
    fractions: Sequence[float] = (0.25, 0.5, 0.75, 0.9),
    thresholds: Sequence[int] = (4, 6, 10, 15),
    count_k: int = 20,
    k: int = 10,
    seeds: int = 6,
) -> Tables:
    """Prune half of the pictures, and classify the other half.

    For each of ``thresholds`` a hard prune takes the entries that mislead so often or more among
    ``count_k`` neighbours. Each prune, also the random one, is compared with a random prune of as
    many entries.
    """
    gallery = laboratory.gallery("natural16")
    prunes: list[tuple[str, float, Mapping[str, Any]]] = [
        *(
            (name, fraction, {**how, "fraction": fraction})
            for name, how in FRACTIONED.items()
            for fraction in fractions
        ),
        *(
            ("hard", each, {"method": "hard", "k": count_k, "threshold": each})
            for each in thresholds
        ),
    ]
    kept, accuracy, control, labels_left = np.empty((4, len(prunes), seeds))
    plain, soft = np.empty((2, seeds))
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        known, queries = gallery.parts((0.5, 0.5), rng)
        memory = laboratory.memory(f"seed {seed}", known)
        plain[seed] = questions.accuracy(memory, queries, k=k)
        soft[seed] = questions.accuracy(memory, queries, k=k, reliability="soft")
        for row, (name, amount, how) in enumerate(prunes):
            seeded = {**how, "seed": seed} if how["method"] in ("random", "prototype") else how
            with without(memory, **seeded) as pruned:
                laboratory.note(f"seed {seed}, {name} {amount:g}", memory)
                kept[row, seed] = 1 - len(pruned.ids) / len(known)
                labels_left[row, seed] = sum(
                    pruned.labels.get(label, 0) < count
                    for label, count in Counter(known.labels.tolist()).items()
                )
                accuracy[row, seed] = questions.accuracy(memory, queries, k=k)
            with without_some(memory, known.ids.tolist(), len(pruned.ids), rng):
                control[row, seed] = questions.accuracy(memory, queries, k=k)
    return {
        "prunes": [
            {
                "method": name,
                "threshold" if name == "hard" else "fraction": amount,
                "kept": over_seeds(kept[row]),
                "labels_left": over_seeds(labels_left[row]),
                "accuracy": over_seeds(accuracy[row]),
                "random_accuracy": over_seeds(control[row]),
                "gain_over_random": over_seeds(accuracy[row] - control[row]),
                "gain_over_all": over_seeds(accuracy[row] - plain),
            }
            for row, (name, amount, _) in enumerate(prunes)
        ],
        "unpruned": [
            {
                "all": over_seeds(plain),
                "soft": over_seeds(soft),
                "soft_gain": over_seeds(soft - plain),
            }
        ],
    }
