"""Dichotomous difficulty: pictures that all configurations get right, none does, the rest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations

import numpy as np

from visual_memory.options import VOTINGS
from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Mask, parts
from visual_memory_benchmarks.laboratory.intervals import Values, over_pictures
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables
from visual_memory_benchmarks.metrics import consistency
from visual_memory_benchmarks.metrics.bootstrap import estimate
from visual_memory_benchmarks.metrics.difficulty import difficulty

NATURAL = "natural16"
DRAWN = ("cue_conflict", "edges", "filled_silhouettes")


@partial(
    Experiment,
    "Dichotomous difficulty: trivial, impossible and other pictures over configurations",
    papers=(23,),
    data=(NATURAL, *DRAWN),
    intervals=intervals.PICTURES,
    comparison=(
        "Published for ImageNet and networks of many kinds: 46.0 % trivial, 11.5 % impossible, "
        "42.5 % rest. Configurations of one memory are more alike than those. Leaving out what "
        "all agree on lowers error consistency by itself."
    ),
    others=("efficientnet-lite1", "efficientnet-lite2"),
)
def dichotomy(
    laboratory: Laboratory,
    *,
    votings: Sequence[tuple[str, int]] = (
        ("rank", 1),
        *((rule, k) for rule in VOTINGS for k in (10, 50)),
    ),
    seed: int = 0,
) -> Tables:
    """Measure which pictures all makers, some and none get right, and error consistency.

    A decision maker is an embedder under a voting.

    Each half of natural16 is classified by a memory of the other half; the other sets by the first
    half's memory.
    """
    correct: dict[str, list[Mask]] = {name: [] for name in (NATURAL, *DRAWN)}
    for at, embedder in enumerate(laboratory.embedders):
        known = laboratory.gallery(NATURAL, at)
        queries = {name: laboratory.gallery(name, at) for name in DRAWN}
        folds = parts(known.labels, (0.5, 0.5), np.random.default_rng(seed))
        memories = [
            laboratory.memory(f"{embedder.spec['name']}, half {number}", known.at(fold))
            for number, fold in enumerate(folds)
        ]
        for voting, k in votings:
            right = np.empty(len(known), bool)
            for memory, queried in zip(memories, folds[::-1], strict=True):
                right[queried] = questions.right(memory, known.at(queried), k=k, voting=voting)
            correct[NATURAL].append(right)
            for name, asked_about in queries.items():
                correct[name].append(questions.right(memories[0], asked_about, k=k, voting=voting))
    return {
        "difficulty": [
            {"set": name, "configurations": len(rows), **shares(np.stack(rows))}
            for name, rows in correct.items()
        ]
    }


def shares(correct: Mask) -> Row:
    """Return shares of pictures by difficulty, and the mean error consistency of decision makers.

    ``correct`` is (makers, n). Consistency is given on all pictures, and on those that some but not
    all makers get right.
    """
    found = difficulty(correct)
    weights = intervals.weights(correct.shape[1])
    return {
        "pictures": correct.shape[1],
        **{name: over_pictures(mask) for name, mask in found.items()},
        "error_consistency": estimate(_consistency(correct, weights)),
        "error_consistency_of_rest": estimate(_consistency(correct, weights * found["rest"])),
    }


def _consistency(correct: Mask, weights: Values) -> Values:
    """Return the mean error consistency of all pairs of decision makers: (rows,).

    ``correct`` is (makers, n); each row of ``weights`` (rows, n) weighs the pictures.
    """
    pairs = list(combinations(range(len(correct)), 2))
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    measures = consistency.compare(correct, first, second, weights)
    return consistency.mean(measures[consistency.ERROR], axis=0)
