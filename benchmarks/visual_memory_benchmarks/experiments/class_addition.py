"""Class addition: how soon a memory knows new classes, and how much the old ones lose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import one_by_one
from visual_memory_benchmarks.laboratory.intervals import over_seeds
from visual_memory_benchmarks.laboratory.laboratory import Laboratory, remember
from visual_memory_benchmarks.laboratory.result import Tables

CONFUSIONS = 20  # the commonest
MEASURES = ("new_accuracy", "old_accuracy", "old_called_new")


@partial(
    Experiment,
    "Adding 20 classes by 1 to 20 exemplars each",
    papers=(8,),
    data=("natural16", "caltech20"),
    intervals=(
        f"{intervals.SEEDS}; the questions about new classes are the same in every seed, and at 20 "
        "exemplars so are their entries"
    ),
    comparison=(
        "Published: 64 NINCO classes change ImageNet's accuracy by 0.02 to 0.04 points and reach "
        "about 87 %. Other classes, other embedders, far fewer entries: what may be compared is "
        "that old classes lose, not how much."
    ),
)
def class_addition(
    laboratory: Laboratory,
    *,
    exemplars: Sequence[int] = (1, 2, 5, 10, 20),
    ks: Sequence[int] = (1, 10, 50),
    seeds: int = 10,
) -> Tables:
    """Add pictures of the training split of caltech20 to a memory of half of natural16."""
    old, new = laboratory.gallery("natural16"), laboratory.gallery("caltech20")
    training = laboratory.attribute("caltech20", "split") == "train"
    pool, unseen = new.at(training), new.at(~training)
    doses = (0, *exemplars)
    found = np.empty((seeds, len(doses), len(ks), len(MEASURES)))
    confused: Counter[tuple[str, str]] = Counter()
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        known, queries = old.parts((0.5, 0.5), rng)
        places = one_by_one(pool.labels, rng)
        memory = laboratory.memory(f"seed {seed}, 0 exemplars", known)
        for row, (before, dose) in enumerate(zip((0, *doses), doses, strict=False)):
            remember(memory, pool.at((before <= places) & (places < dose)))
            laboratory.note(f"seed {seed}, {dose} exemplars", memory)
            for column, k in enumerate(ks):
                called = questions.labels(questions.classify(memory, queries, k=k))
                found[seed, row, column] = (
                    questions.right(memory, unseen, k=k).mean(),
                    (called == queries.labels).mean(),
                    np.isin(called, unseen.labels).mean(),
                )
        pairs = zip(queries.labels.tolist(), called.tolist(), strict=True)
        confused.update(pair for pair in pairs if pair[1] in unseen.labels)
    return {
        "doses": [
            {
                "exemplars": dose,
                "k": k,
                **{name: over_seeds(found[:, row, column, at]) for at, name in enumerate(MEASURES)},
                "old_change": over_seeds(found[:, row, column, 1] - found[:, 0, column, 1]),
            }
            for column, k in enumerate(ks)
            for row, dose in enumerate(doses)
        ],
        "confusions": [
            {"exemplars": doses[-1], "k": ks[-1], "old": old, "called": new, "decisions": count}
            for (old, new), count in sorted(confused.items(), key=lambda each: (-each[1], each[0]))
        ][:CONFUSIONS],
    }
