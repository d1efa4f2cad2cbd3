"""Assess the labels of a memory by its own entries: accuracy, confusion, conflicts, suspects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import BadParameter
from visual_memory_index.votes.voting import Weights, tally

LEAD = 0.7  # see ``suspects``
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
class Suspect:
    """An entry whose label is likely wrong, and the label that it should have.

    ``score`` in (0, 1] is the lead of ``proposed`` over ``label``, as a share of all votes.
    """

    id: str
    label: str
    proposed: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two entries with nearly the same picture and different labels; the ids ascend."""

    ids: tuple[str, str]
    labels: tuple[str, str]
    distance: float


def predictions(judged: LeaveOneOut) -> Labels:
    """Return the label that each entry's neighbours vote for: an object array (m,).

    Ties are broken as in ``decide``.
    """
    voters = zip(judged.neighbors, judged.weights, strict=True)
    return np.array([next(iter(tally(judged.labels[rows], own))) for rows, own in voters], object)


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the share of entries, m ≥ 1, whose predicted label is their own."""
    return float(np.mean(labels == predicted))


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


def conflicts(judged: LeaveOneOut, *, tolerance: float = NEAR_DUPLICATE) -> list[Conflict]:
    """Return pairs of neighbours with different labels, at most ``tolerance`` apart.

    They are sorted by distance, then by ids. Raises BadParameter if ``tolerance`` is not in [0, 2].
    """
    if not 0.0 <= tolerance <= 2.0:
        raise BadParameter("tolerance", "from 0 to 2", tolerance)
    ids, labels = judged.ids, judged.labels
    differ = labels[judged.neighbors] != labels[:, np.newaxis]
    found = {}
    for row, place in np.argwhere(differ & (judged.distances <= tolerance)):
        one, other = sorted((row, judged.neighbors[row, place]), key=ids.__getitem__)
        distance = float(judged.distances[row, place])
        found[one, other] = Conflict((ids[one], ids[other]), (labels[one], labels[other]), distance)
    return sorted(found.values(), key=lambda conflict: (conflict.distance, conflict.ids))


def suspects(
    judged: LeaveOneOut, *, lead: float = LEAD, trusted_min: int = TRUSTED_MIN
) -> list[Suspect]:
    """Return the entries whose labels are likely wrong, most suspicious first, equal ones by id.

    Two entries vote for each other's labels if one is among the k nearest of the other, and twice
    if both are. An entry is suspect if another label's share of its votes exceeds its own label's
    share by at least ``lead`` times the mean share of own labels: the noisier the memory, the
    smaller the lead needed. Then the suspects lose their votes, and all entries are judged once
    more.

    Entries of labels with fewer than ``trusted_min`` entries vote but are not judged, since too few
    entries could support their labels. Raises BadParameter if ``lead`` is not in (0, 1].
    """
    if not 0.0 < lead <= 1.0:
        raise BadParameter("lead", "above 0 and at most 1", lead)
    voting = _VotingPairs(judged, trusted_min)
    everyone = np.ones(len(judged.ids), bool)
    trusted = ~voting.verdict(everyone, lead).suspect
    verdict = voting.verdict(trusted, lead)
    return voting.report(verdict, trusted)


@dataclass(frozen=True, slots=True, eq=False)
class _Verdict:
    """The judgement of ``_VotingPairs.verdict`` on each entry, as arrays (m,).

    ``rival`` is the number of the label with the largest share of an entry's votes, perhaps its own
    label; ``margin`` is that share less the share of its own label, and ``suspect`` is True if the
    margin is large enough.
    """

    suspect: NDArray[np.bool_]
    margin: NDArray[np.float64]
    rival: NDArray[np.intp]


class _VotingPairs:
    """The entries sorted by id, and all votes: entry ``voters[i]`` votes on entry ``hearers[i]``.

    Sums do not depend on the order of rows.
    """

    def __init__(self, judged: LeaveOneOut, trusted_min: int) -> None:
        order = np.argsort(judged.ids)
        rank = np.empty(len(order), np.intp)
        rank[order] = np.arange(len(order))
        self.ids = judged.ids[order]
        self.names, self.codes, sizes = np.unique(
            judged.labels[order], return_inverse=True, return_counts=True
        )
        self.judged = sizes[self.codes] >= trusted_min
        near = rank[judged.neighbors[order]].ravel()
        asking = np.repeat(np.arange(len(order)), judged.neighbors.shape[1])
        self.hearers = np.concatenate([asking, near])
        self.voters = np.concatenate([near, asking])
        self.weights = np.tile(judged.weights[order].ravel(), 2)
        cells = self.hearers * len(self.names) + self.codes[self.voters]
        self.cells, self.cell_of = np.unique(cells, return_inverse=True)

    def verdict(self, trusted: NDArray[np.bool_], lead: float) -> _Verdict:
        """Judge all entries by the votes of ``trusted`` entries; see ``suspects`` for ``lead``."""
        m = len(self.ids)
        votes = np.bincount(self.cell_of, self.weights * trusted[self.voters])
        hearers, labels = np.divmod(self.cells, len(self.names))
        totals = np.bincount(hearers, votes, minlength=m)
        shares = votes / np.maximum(totals, np.finfo(float).tiny)[hearers]
        is_own = labels == self.codes[hearers]
        own = np.zeros(m)
        own[hearers[is_own]] = shares[is_own]
        order = np.lexsort((labels, -shares, hearers))
        _, first = np.unique(hearers[order], return_index=True)
        margin = shares[order][first] - own
        bar = lead * own[self.judged].mean() if self.judged.any() else np.inf
        suspect = self.judged & (margin > 0) & (margin >= bar)
        return _Verdict(suspect, margin, labels[order][first])

    def report(self, verdict: _Verdict, trusted: NDArray[np.bool_]) -> list[Suspect]:
        """Return one ``Suspect`` for each suspect entry, by score, equal ones by id."""
        heard = verdict.suspect[self.hearers] & trusted[self.voters]
        pairs = zip(self.hearers[heard].tolist(), self.voters[heard].tolist(), strict=True)
        near: dict[int, dict[int, str]] = {}
        for hearer, voter in pairs:
            near.setdefault(hearer, {})[voter] = self.names[self.codes[voter]]
        found = []
        for row in np.flatnonzero(verdict.suspect).tolist():
            label, proposed = self.names[self.codes[row]], self.names[verdict.rival[row]]
            reason = _reason(list(near[row].values()), label, proposed)
            found.append(
                Suspect(self.ids[row], label, proposed, float(verdict.margin[row]), reason)
            )
        return sorted(found, key=lambda suspect: -suspect.score)


def _reason(near: list[str], label: str, proposed: str) -> str:
    count, own = near.count(proposed), near.count(label) or "none"
    if count == len(near):
        return f"all of its {count} neighbours are labelled {proposed}"
    return f"{count} of its {len(near)} neighbours are labelled {proposed}, {own} {label}"
