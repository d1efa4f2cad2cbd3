"""Judge the label of each entry by its neighbours and by class means that leave it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.curation.assessment import TRUSTED_MIN, LeaveOneOut
from visual_memory_index.heads.head import PAIRS_AT_ONCE, Head, fit
from visual_memory_index.heads.statistics import ROWS_AT_ONCE, Statistics
from visual_memory_index.votes.shares import shares
from visual_memory_index.votes.voting import SOFTMAX_TEMPERATURE

LEAD = 0.7  # see ``judge``
ROUNDS = 3

VectorsOf: TypeAlias = Callable[[NDArray[np.intp]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class LabelJudgement:
    """The judgement on an entry's label; ``proposed`` is the likeliest other label.

    With the probabilities of both labels, ``score`` is the share of ``proposed`` in their sum, from
    0 to 1. ``reason`` says how many neighbours have either label. In a memory of one label
    ``proposed`` is that label, and the score 0.
    """

    id: str
    label: str
    proposed: str
    score: float
    reason: str
    suspect: bool


def judge(
    judged: LeaveOneOut,
    vectors_of: VectorsOf,
    *,
    trusted_min: int = TRUSTED_MIN,
) -> list[LabelJudgement]:
    """Judge the labels of all entries, the most suspicious first, equal scores by id.

    ``vectors_of`` returns the unit vectors float32 (n, d) of rows of ``judged``.

    The probability of a label for an entry is the mean of two, neither of which knows the entry.
    One is the label's share of votes: two entries vote for each other's labels if one is among the
    k nearest of the other, and twice if both are. The other is the softmax, with temperature 0.07,
    of the entry's centred cosines to the class means (``heads.head``). For an entry on which
    nobody votes the first is 0.

    An entry is suspect if another label's probability exceeds that of its own by at least ``LEAD``
    times the mean probability of own labels: the noisier the memory, the smaller the lead needed.
    Then the suspects lose their votes and leave the class means, and all entries are judged again,
    ``ROUNDS`` times in all (after Brodley and Friedl, 1999, Identifying mislabeled training data).
    Of each label at most half of the entries are left out, the most suspicious first, so that no
    label disappears.

    Entries of labels with fewer than ``trusted_min`` entries are never suspect, since too few
    entries could support their labels.
    """
    entries = _Entries(judged, vectors_of, trusted_min)
    trusted = np.ones(len(judged.ids), bool)
    verdict = entries.verdict(trusted)
    for _ in range(ROUNDS - 1):
        trusted = entries.trusted_after(verdict)
        verdict = entries.verdict(trusted)
    return entries.report(verdict, trusted)


@dataclass(frozen=True, slots=True, eq=False)
class _Verdict:
    """The judgement on each entry, as arrays (m,); ``rivals`` are numbers of other labels."""

    suspect: NDArray[np.bool_]
    scores: NDArray[np.float64]
    rivals: NDArray[np.intp]


class _Entries:
    """The entries sorted by id, and all votes: entry ``voters[i]`` votes on entry ``hearers[i]``.

    Sums do not depend on the order of rows. ``hearers`` ascend; the votes on entry i begin at
    ``starts[i]``.
    """

    def __init__(self, judged: LeaveOneOut, vectors_of: VectorsOf, trusted_min: int) -> None:
        self.rows = np.argsort(judged.ids)
        m = len(self.rows)
        rank = np.empty(m, np.intp)
        rank[self.rows] = np.arange(m)
        self.vectors_of = vectors_of
        self.ids = judged.ids[self.rows]
        self.labels = judged.labels[self.rows]
        self.names, self.codes, self.sizes = np.unique(
            self.labels, return_inverse=True, return_counts=True
        )
        self.judged = self.sizes[self.codes] >= trusted_min
        near = rank[judged.neighbors[self.rows]].ravel()
        asking = np.repeat(np.arange(m), judged.neighbors.shape[1])
        hearers = np.concatenate([asking, near])
        order = np.argsort(hearers, kind="stable")
        self.hearers = hearers[order]
        self.voters = np.concatenate([near, asking])[order]
        self.weights = np.tile(judged.weights[self.rows].ravel(), 2)[order]
        self.starts = np.searchsorted(self.hearers, np.arange(m + 1))

    def verdict(self, trusted: NDArray[np.bool_]) -> _Verdict:
        """Judge all entries by ``trusted`` entries."""
        m = len(self.ids)
        own, rival, rivals = np.empty(m), np.empty(m), np.empty(m, np.intp)
        head = self._head(trusted)
        for part in self._parts(min(ROWS_AT_ONCE, max(1, PAIRS_AT_ONCE // len(self.names)))):
            found = self._shares(part, trusted) + self._probabilities(part, head, trusted)
            entry = np.arange(len(found))
            own[part] = found[entry, self.codes[part]]
            if len(self.names) > 1:
                found[entry, self.codes[part]] = -1.0
            rivals[part] = found.argmax(axis=1)
            rival[part] = found[entry, rivals[part]]
        if len(self.names) == 1:
            rival[:] = 0.0
        margin = rival - own
        bar = LEAD * own[self.judged].mean() if self.judged.any() else np.inf
        suspect = self.judged & (margin > 0.0) & (margin >= bar)
        return _Verdict(suspect, rival / (rival + own), rivals)

    def trusted_after(self, verdict: _Verdict) -> NDArray[np.bool_]:
        """Return a mask of the entries that may judge; see ``judge`` for the others."""
        suspects = np.flatnonzero(verdict.suspect)
        codes = self.codes[suspects]
        order = np.lexsort((-verdict.scores[suspects], codes))
        suspects, codes = suspects[order], codes[order]
        place = np.arange(len(codes)) - np.searchsorted(codes, codes)
        trusted = np.ones(len(self.ids), bool)
        trusted[suspects[place < self.sizes[codes] // 2]] = False
        return trusted

    def report(self, verdict: _Verdict, trusted: NDArray[np.bool_]) -> list[LabelJudgement]:
        """Return one ``LabelJudgement`` for each entry, by score, equal ones by id."""
        m = len(self.ids)
        heard = trusted[self.voters]
        hearers, voters = np.divmod(np.unique(self.hearers[heard] * m + self.voters[heard]), m)
        of_voter = self.codes[voters]
        counts = (
            np.bincount(hearers[which], minlength=m).tolist()
            for which in (
                of_voter == verdict.rivals[hearers],
                of_voter == self.codes[hearers],
                np.ones(len(hearers), bool),
            )
        )
        rows = zip(
            self.ids,
            self.labels,
            self.names[verdict.rivals],
            verdict.scores.tolist(),
            verdict.suspect.tolist(),
            *counts,
            strict=True,
        )
        found = [
            LabelJudgement(
                id, label, proposed, score, _reason(label, proposed, suspect, *counted), suspect
            )
            for id, label, proposed, score, suspect, *counted in rows
        ]
        return sorted(found, key=lambda each: -each.score)

    def _parts(self, size: int) -> Iterator[slice]:
        for start in range(0, len(self.ids), size):
            yield slice(start, min(start + size, len(self.ids)))

    def _head(self, trusted: NDArray[np.bool_]) -> Head:
        statistics = Statistics(self.vectors_of(self.rows[:1]).shape[1], moment=False)
        for part in self._parts(ROWS_AT_ONCE):
            labels, rows = self.labels[part][trusted[part]], self.rows[part][trusted[part]]
            statistics.add(labels.tolist(), self.vectors_of(rows))
        return fit(statistics)

    def _shares(self, part: slice, trusted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the labels' shares of the votes on each entry (n, L); all 0 without votes."""
        votes = slice(self.starts[part.start], self.starts[part.stop])
        voters = self.voters[votes]
        cells = (self.hearers[votes] - part.start) * len(self.names) + self.codes[voters]
        shape = (part.stop - part.start, len(self.names))
        counted = np.bincount(
            cells, self.weights[votes] * trusted[voters], minlength=shape[0] * shape[1]
        ).reshape(shape)
        totals = counted.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = counted / np.maximum(totals, np.finfo(float).tiny)
        return shares

    def _probabilities(
        self, part: slice, head: Head, trusted: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the softmax (n, L) of the scores by ``head``, each entry's without that entry."""
        vectors, known = self.vectors_of(self.rows[part]), trusted[part]
        scores = np.empty((len(vectors), len(self.names)))
        scores[~known] = head.compare(vectors[~known]).scores
        labels = self.labels[part][known].tolist()
        scores[known] = head.compare_without(vectors[known], labels, vectors[known]).scores
        return shares(scores, SOFTMAX_TEMPERATURE)


def _reason(label: str, proposed: str, suspect: bool, count: int, own: int, total: int) -> str:
    if not total:
        return "none of its neighbours is beyond suspicion"
    if count == total:
        return f"all of its {total} neighbours are labelled {proposed}"
    despite = "" if count > own else f"; by nearness and class means {proposed} is likelier"
    return (
        f"{count or 'none'} of its {total} neighbours are labelled {proposed}, "
        f"{own or 'none'} {label}{despite if suspect else ''}"
    )
