"""Open set: do distances separate pictures of classes that the memory does not hold?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np

from visual_memory import Neighbors
from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Gallery, Mask
from visual_memory_benchmarks.laboratory.intervals import Values, over_pictures
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables
from visual_memory_benchmarks.metrics.bootstrap import estimate

KEPT = 0.95
SCORES: Mapping[str, Callable[[Values], Values]] = MappingProxyType(
    {
        "mean": lambda distances: distances.mean(axis=1),
        "median": lambda distances: np.median(distances, axis=1),
    }
)
"""Scores of ascending distances (n, neighbors): the higher, the less known is the picture."""


@partial(
    Experiment,
    "Open set: distances of 20 unknown classes",
    papers=(8,),
    data=("natural16", "caltech20"),
    intervals=f"{intervals.PICTURES}; known and unknown ones are drawn apart",
    comparison=(
        "The paper plots mean and median of 100 distances without values; nothing here stands "
        "beside it, and 100 is more than any label has entries here. Known pictures ask all others "
        "of the memory, which holds photographs of the same sources: new ones would lie farther. "
        "The class means by which the service rejects hold the picture that asks, too."
    ),
)
def open_set(
    laboratory: Laboratory, *, neighbors: Sequence[int] = (1, 10, 100), k: int = 50
) -> Tables:
    """Store natural16, and compare distances of its pictures (known) and caltech20's (unknown)."""
    known, unknown = laboratory.gallery("natural16"), laboratory.gallery("caltech20")
    memory = laboratory.memory("natural16", known)
    most = max(neighbors)
    found = memory.search(vectors=known.vectors, k=most + 1)
    near = np.stack([_others(each, id)[:most] for each, id in zip(found, known.ids, strict=True)])
    far = np.stack([each.distances for each in memory.search(vectors=unknown.vectors, k=most)])
    calibration = memory.calibrate(k=k)
    by_others = questions.classify_by_others(
        memory, known.ids.tolist(), vectors=known.vectors, k=k, calibrated=True
    )
    rejected_known = [each.rejected for each in by_others]
    rejected = np.array(
        [each.rejected for each in questions.classify(memory, unknown, k=k, calibrated=True)]
    )
    return {
        "scores": [
            {
                "score": name,
                "neighbors": count,
                **separation(of(near[:, :count]), of(far[:, :count])),
            }
            for count in neighbors
            for name, of in SCORES.items()
        ],
        "classes": [
            {
                "unknown": label,
                "pictures": int(members.sum()),
                **separation(near[:, 0], far[members, 0]),
            }
            for label, members in _classes(unknown)
        ],
        "service": [
            {
                "rejection_distance": calibration.rejection_distance,
                "rejected_of_known": over_pictures(rejected_known),
                "rejected_of_unknown": over_pictures(rejected),
            }
        ],
    }


def _classes(gallery: Gallery) -> list[tuple[str, Mask]]:
    """Return each label with the mask of its pictures."""
    return [(label, gallery.labels == label) for label in np.unique(gallery.labels).tolist()]


def _others(neighbors: Neighbors, id: str) -> Values:
    """Return the distances to all neighbours but the picture itself."""
    return neighbors.distances[[each != id for each in neighbors.ids]]


def separation(known: Values, unknown: Values) -> Row:
    """Return AUROC, FPR95 and its threshold for scores that are higher for unknown pictures.

    FPR95 is the share of unknown pictures accepted at the threshold that accepts 95 % of the known
    ones.
    """
    nearer = (known[:, None] < unknown) + (known[:, None] == unknown) / 2
    counts, others = intervals.weights(len(known)), intervals.weights(len(unknown), 1)
    totals = others.sum(axis=1)
    auroc = ((counts @ nearer) * others).sum(axis=1) / (counts.sum(axis=1) * totals)
    limits = _limits(known, counts)
    below = ((unknown <= limits[:, None]) * others).sum(axis=1) / totals
    return {"auroc": estimate(auroc), "fpr95": estimate(below), "limit": float(limits[0])}


def _limits(known: Values, weights: Values) -> Values:
    """Return the smallest threshold that accepts 95 % of the known pictures: (rows,).

    There is one for each row of ``weights``. ``known`` are the pictures' scores (n,); a score at
    most the threshold is accepted.
    """
    order = np.argsort(known)
    wanted = np.ceil(KEPT * weights.sum(axis=1, keepdims=True))
    kept = weights[:, order].cumsum(axis=1) >= wanted
    limits: Values = known[order][kept.argmax(axis=1)]
    return limits
