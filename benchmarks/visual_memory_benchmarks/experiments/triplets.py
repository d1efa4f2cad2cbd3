"""Triplets: do memories agree on which of two pictures is more like a third?"""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np

from visual_memory import Memory
from visual_memory_benchmarks.laboratory import intervals
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Gallery, Numbers, Texts
from visual_memory_benchmarks.laboratory.intervals import Values, over_pictures
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Tables
from visual_memory_benchmarks.metrics.triplets import agreed

KINDS = ("category", "random")


@partial(
    Experiment,
    "Triplets: is a picture nearer to one or to another, by category and by every embedder",
    papers=(30,),
    data=("natural16",),
    intervals=intervals.PICTURES,
    comparison=(
        "Nothing published stands beside it, for nobody was asked about these pictures: category "
        "triplets take another picture of the same category for nearer than one of another, "
        "random ones compare embedders with each other. Answers of people are read from a file."
    ),
    others=("efficientnet-lite1", "efficientnet-lite2"),
)
def triplets(laboratory: Laboratory, *, per_picture: int = 1, seed: int = 0) -> Tables:
    """Compare each picture with two others, ``per_picture`` times; a memory answers the nearer."""
    names = [str(each.spec["name"]) for each in laboratory.embedders]
    labels = laboratory.gallery("natural16").labels
    rng = np.random.default_rng(seed)
    drawn = {
        kind: [_drawn(kind, labels, rng) for _ in range(per_picture)] for kind in KINDS
    }  # of (n, 2): y and z
    answers: dict[str, list[Values]] = {kind: [] for kind in KINDS}
    for at, name in enumerate(names):
        gallery = laboratory.gallery("natural16", at)
        memory = laboratory.memory(name, gallery)
        for kind, rounds in drawn.items():
            answers[kind].append(np.stack([_closer(memory, gallery, pairs) for pairs in rounds]))
    by_category = [
        {"embedder": name, "accuracy": over_pictures((found - 1) / -2)}
        for name, found in zip(names, answers["category"], strict=True)
    ]
    return {
        "category_triplets": by_category,
        "ordinal_consistency": [
            {
                "triplets": kind,
                "first": names[a],
                "second": names[b],
                "agreed": over_pictures(agreed(found[a], found[b])),
            }
            for kind, found in answers.items()
            for a, b in combinations(range(len(names)), 2)
        ],
    }


def _drawn(kind: str, labels: Texts, rng: np.random.Generator) -> Numbers:
    """Draw two other pictures, y and z, for each picture: (n, 2).

    If ``kind`` is "category", y is of the picture's category and z is not; else they are any two.
    """
    n = len(labels)
    found = np.empty((n, 2), np.intp)
    for o in range(n):
        same = labels == labels[o]
        same[o] = False
        if kind == "category":
            found[o] = (
                rng.choice(np.flatnonzero(same)),
                rng.choice(np.flatnonzero(labels != labels[o])),
            )
        else:
            found[o] = rng.choice(np.delete(np.arange(n), o), 2, replace=False)
    return found


def _closer(memory: Memory, gallery: Gallery, pairs: Numbers) -> Values:
    """Return −1 for each picture nearer to the first of its pair, 1 to the second, 0 if tied."""
    found = np.empty(len(pairs))
    for o, (y, z) in enumerate(gallery.ids[pairs].tolist()):
        (near,) = memory.search(
            vectors=gallery.vectors[[o]], k=2, filter=f"id = {_quoted(y)} OR id = {_quoted(z)}"
        )
        first, second = near.distances
        found[o] = 0 if first == second else -1 if near.ids[0] == y else 1
    return found


def _quoted(id: str) -> str:
    """Quote an id for a filter."""
    escaped = id.replace("\\", r"\\").replace('"', r"\"").replace("*", r"\*")
    return f'"{escaped}"'
