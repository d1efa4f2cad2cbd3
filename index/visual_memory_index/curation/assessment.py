"""Assess the labels of a memory by its own entries: accuracy, confusion, conflicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.votes.voting import Weights

TRUSTED_MIN = 5
# JPEG quality 75 or a resize to 90 % moves 9 of 10 pictures of natural16 by at most that in
# EfficientNet-Lite0; no two of its pictures with different labels are nearer than 0.13.
NEAR_DUPLICATE = 0.06

Labels: TypeAlias = NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class LeaveOneOut:
    """All entries in any order, with the k ≥ 1 other entries nearest to each.

    ``ids`` and ``labels`` are objects (m,). ``neighbors`` (m, k) holds rows, nearest first, never
    the entry's own; ``distances`` and ``weights`` are float64 (m, k).
    """

    ids: NDArray[np.object_]
    labels: Labels
    neighbors: NDArray[np.integer[Any]]
    distances: NDArray[np.float64]
    weights: Weights


@dataclass(frozen=True, slots=True)
class LabelAccuracy:
    """The number of entries of one label, and the share predicted right from their neighbours."""

    label: str
    count: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two entries with nearly the same picture and different labels; the ids ascend."""

    ids: tuple[str, str]
    labels: tuple[str, str]
    distance: float


def label_accuracies(labels: Labels, predicted: Labels) -> list[LabelAccuracy]:
    """Return the accuracy of each label, labels ascending."""
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    right = np.bincount(codes, labels == predicted, minlength=len(names))
    return [
        LabelAccuracy(name, int(count), float(hits / count))
        for name, count, hits in zip(names, counts, right, strict=True)
    ]


def confusion(labels: Labels, predicted: Labels) -> dict[str, dict[str, int]]:
    """Map each label, ascending, to the labels predicted for its entries, most frequent first."""
    table: dict[str, dict[str, int]] = {label: {} for label in sorted(set(labels))}
    for label, guess in zip(labels, predicted, strict=True):
        table[label][guess] = table[label].get(guess, 0) + 1
    return {
        label: dict(sorted(row.items(), key=lambda cell: (-cell[1], cell[0])))
        for label, row in table.items()
    }


def thin_labels(labels: Labels, *, trusted_min: int = TRUSTED_MIN) -> dict[str, int]:
    """Map the labels of fewer than ``trusted_min`` entries, ascending, to their counts."""
    names, counts = np.unique(labels, return_counts=True)
    thin = counts < trusted_min
    return dict(zip(names[thin], counts[thin].tolist(), strict=True))


def conflicts(judged: LeaveOneOut) -> list[Conflict]:
    """Return pairs of neighbours with different labels, at most NEAR_DUPLICATE apart.

    They are sorted by distance, then by ids.
    """
    ids, labels = judged.ids, judged.labels
    differ = labels[judged.neighbors] != labels[:, np.newaxis]
    found = {}
    for row, place in np.argwhere(differ & (judged.distances <= NEAR_DUPLICATE)):
        one, other = sorted((row, judged.neighbors[row, place]), key=ids.__getitem__)
        distance = float(judged.distances[row, place])
        found[one, other] = Conflict((ids[one], ids[other]), (labels[one], labels[other]), distance)
    return sorted(found.values(), key=lambda conflict: (conflict.distance, conflict.ids))
