"""Votings: accuracy of each rule over k, with k chosen on other pictures, and by neighbour rank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from visual_memory import Neighbors
from visual_memory.options import VOTINGS
from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Gallery, joined
from visual_memory_benchmarks.laboratory.intervals import Values, over_pictures, over_seeds
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables
from visual_memory_benchmarks.metrics.bootstrap import estimate

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)


@partial(
    Experiment,
    "Four voting rules over k, k chosen on other pictures, and accuracy by neighbour rank",
    papers=(8,),
    data=("natural16",),
    intervals=f"{intervals.SEEDS}. In leave_one_out, ranks and reliability: {intervals.PICTURES}",
    comparison=(
        "The published curves are of ImageNet with 1.28 million entries: their course may be "
        "compared (plurality, distance and softmax rise, then fall with k; rank stays flat), their "
        "values may not. Here k soon exceeds the entries of a label, so the fall is steeper."
    ),
)
def votings(
    laboratory: Laboratory,
    *,
    ks: Sequence[int] = KS,
    fixed_ks: Sequence[int] = (10, 50, 100),
    seeds: int = 10,
    left_out_ks: Sequence[int] = (1, 10, 50),
) -> Tables:
    """Store half of the pictures, choose k on a quarter, classify a quarter."""
    gallery = laboratory.gallery("natural16")
    held = np.empty((seeds, len(VOTINGS), len(ks)))
    queried = np.empty_like(held)
    for seed in range(seeds):
        known, *both = gallery.parts((0.5, 0.25, 0.25), np.random.default_rng(seed))
        memory = laboratory.memory(f"seed {seed}", known)
        queries = joined(both)
        for at, rule in enumerate(VOTINGS):
            for column, k in enumerate(ks):
                right = questions.right(memory, queries, k=k, voting=rule)
                held[seed, at, column] = right[: len(both[0])].mean()
                queried[seed, at, column] = right[len(both[0]) :].mean()
    return {
        "curves": [
            {"voting": rule, "k": k, "accuracy": over_seeds(queried[:, at, column])}
            for at, rule in enumerate(VOTINGS)
            for column, k in enumerate(ks)
        ],
        "chosen": [
            _chosen(rule, ks, fixed_ks, held[:, at], queried[:, at])
            for at, rule in enumerate(VOTINGS)
        ],
        **_whole(laboratory, gallery, left_out_ks),
    }


def _chosen(
    rule: str, ks: Sequence[int], fixed_ks: Sequence[int], held: Values, queried: Values
) -> Row:
    """Return a rule's accuracy with k chosen on other pictures, with fixed ks, with the best k.

    ``held`` are the accuracies (seeds, ks) by which k is chosen, ``queried`` those to report.
    """
    best = held.argmax(axis=1)  # the smallest of equals
    chosen = np.take_along_axis(queried, best[:, None], axis=1)[:, 0]
    hindsight = queried.max(axis=1)
    return {
        "voting": rule,
        "chosen_ks": [ks[at] for at in best],
        "accuracy": over_seeds(chosen),
        "hindsight": over_seeds(hindsight),
        "optimism": over_seeds(hindsight - chosen),
        "last_minus_chosen": over_seeds(queried[:, -1] - chosen),
        **{f"accuracy_at_{k}": over_seeds(queried[:, ks.index(k)]) for k in fixed_ks if k in ks},
    }


def _whole(laboratory: Laboratory, gallery: Gallery, ks: Sequence[int]) -> Tables:
    """Return leave-one-out accuracy for each of ``ks``, and accuracy by neighbour rank."""
    memory = laboratory.memory("all", gallery)
    left_out = []
    for k in ks:
        others = questions.classify_by_others(
            memory, gallery.ids.tolist(), vectors=gallery.vectors, k=k
        )
        right = questions.labels(others) == gallery.labels
        left_out.append({"voting": "rank", "k": k, "accuracy": over_pictures(right)})
    # Beyond the smallest label's other entries no answer is right.
    ranks = int(np.unique(gallery.labels, return_counts=True)[1].min()) - 1
    correct = _by_rank(memory.search(vectors=gallery.vectors, k=ranks + 1), gallery, ranks)
    rows = [
        {"rank": rank, "accuracy": over_pictures(column)}
        for rank, column in enumerate(correct.T, start=1)
    ]
    return {"leave_one_out": left_out, "ranks": rows, "reliability": reliability(correct)}


def _by_rank(found: Sequence[Neighbors], gallery: Gallery, ranks: int) -> Values:
    """Return 1 where the j-th nearest other picture has the picture's label, else 0: (n, ranks)."""
    rows = []
    for neighbors, id, label in zip(found, gallery.ids, gallery.labels, strict=True):
        others = [each.label == label for each in neighbors if each.id != id]
        rows.append(others[:ranks])
    return np.array(rows, np.float64)


def reliability(correct: Values) -> list[Row]:
    """Fit the accuracy of the j-th nearest neighbour as a · ln j + b.

    ``correct`` (n, ranks) is 1 where a picture's j-th neighbour has its label. Empty for one rank.
    """
    logs = np.log(np.arange(1, correct.shape[1] + 1))
    if len(logs) < 2:
        return []
    weights = intervals.weights(len(correct))
    drawn = weights @ correct / weights.sum(axis=1, keepdims=True)
    slopes, levels = np.polyfit(logs, drawn.T, 1)
    rest = drawn[0] - (slopes[0] * logs + levels[0])
    spread = float(((drawn[0] - drawn[0].mean()) ** 2).sum())
    return [
        {
            "law": "a ln j + b",
            "ranks": len(logs),
            "a": estimate(slopes),
            "b": estimate(levels),
            "explained": 1 - float((rest**2).sum()) / spread if spread else None,
        }
    ]
