"""Calibration: are confidences the shares of right decisions, and do label sets cover?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.intervals import over_seeds
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables

BINS = 15
CONFORMALS = (
    ("lac", True, "all"),
    ("lac", False, "all"),
    ("lac", True, "label"),
    ("randomized_aps", True, "all"),
)
"""How a set is chosen, whether it may be empty, and what the coverage is an average over."""


@partial(
    Experiment,
    "Calibration error before and after, coverage and size of label sets",
    papers=(8,),
    data=("natural16",),
    intervals=intervals.SEEDS,
    comparison=(
        "Nothing published stands beside it. Coverage is promised on average over splits, for "
        "sets that may be empty; those that may not hold the right label more often."
    ),
)
def calibration(
    laboratory: Laboratory,
    *,
    coverages: Sequence[float] = (0.8, 0.9),
    k: int = 50,
    seeds: int = 20,
) -> Tables:
    """Store half of the pictures, calibrate on a quarter, classify a quarter."""
    gallery = laboratory.gallery("natural16")
    errors = np.empty((2, seeds))
    covered, sizes = np.empty((2, len(CONFORMALS), len(coverages), seeds))
    by_label = [[Counter[tuple[str, bool]]() for _ in coverages] for _ in CONFORMALS]
    for seed in range(seeds):
        known, held, queries = gallery.parts((0.5, 0.25, 0.25), np.random.default_rng(seed))
        memory = laboratory.memory(f"seed {seed}", known)
        memory.calibrate(k=k, vectors=held.vectors, labels=held.labels.tolist())
        decisions = questions.classify(memory, queries, k=k, calibrated=True)
        right = questions.labels(decisions) == queries.labels
        errors[0, seed] = calibration_error([each.confidence for each in decisions], right)
        errors[1, seed] = calibration_error(
            [each.calibrated_confidence or 0.0 for each in decisions], right
        )
        for row, (conformal, allow_empty, coverage_by) in enumerate(CONFORMALS):
            for column, coverage in enumerate(coverages):
                sets = [
                    each.label_set or []
                    for each in questions.classify(
                        memory,
                        queries,
                        k=k,
                        coverage=coverage,
                        coverage_by=coverage_by,
                        conformal=conformal,
                        allow_empty=allow_empty,
                    )
                ]
                held_in = [label in each for label, each in zip(queries.labels, sets, strict=True)]
                covered[row, column, seed] = np.mean(held_in)
                by_label[row][column].update(zip(queries.labels.tolist(), held_in, strict=True))
                sizes[row, column, seed] = np.mean([len(each) for each in sets])
    before, after = errors
    return {
        "errors": [
            {
                "bins": BINS,
                "before": over_seeds(before),
                "after": over_seeds(after),
                "change": over_seeds(after - before),
            }
        ],
        "coverage": [
            {
                "conformal": conformal,
                "allow_empty": allow_empty,
                "coverage_by": coverage_by,
                "wanted": coverage,
                "covered": over_seeds(covered[row, column]),
                "least_covered": least_covered(by_label[row][column]),
                "set_size": over_seeds(sizes[row, column]),
            }
            for row, (conformal, allow_empty, coverage_by) in enumerate(CONFORMALS)
            for column, coverage in enumerate(coverages)
        ],
    }


def least_covered(counts: Counter[tuple[str, bool]]) -> Row:
    """Return the label of which most queries, over all seeds, are not covered, and the share."""
    labels = sorted({label for label, _ in counts})
    shares = {
        label: counts[label, True] / (counts[label, True] + counts[label, False])
        for label in labels
    }
    label = min(labels, key=lambda label: shares[label])
    return {"label": label, "covered": shares[label]}


def calibration_error(confidences: ArrayLike, right: ArrayLike) -> float:
    """Return the expected calibration error over 15 equal bins (0, 1/15], …, (14/15, 1]."""
    confidences, right = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    bins = np.clip(np.ceil(confidences * BINS), 1, BINS)
    gaps = [abs((right - confidences)[bins == each].sum()) for each in np.unique(bins)]
    return float(sum(gaps) / len(right))
