"""Decisions without some entries: what each neighbour's removal does, and flips with a head."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.curation.explanation import Flip, Ranks, smallest_flip
from visual_memory_index.heads.head import Head, fit
from visual_memory_index.heads.products import Matrix, inverse, rounded_inverse
from visual_memory_index.heads.statistics import Statistics
from visual_memory_index.ram.ram_copy import sizes_of
from visual_memory_index.records.neighbors import HeadScores, Neighbors
from visual_memory_index.votes.rule import Rule
from visual_memory_index.votes.voting import Decision

FLIP_RANKS = 4096  # nearest entries of which a flip with a head may consist
REMOVED_MAX = 100  # entries whose removal is told where a head scores all labels without each


@dataclass(frozen=True, slots=True)
class Removal:
    """The ``label`` that a query gets without one entry, and the confidence of that decision.

    Without the only entry the label is empty, and the confidence 0.
    """

    id: str
    label: str
    confidence: float


def decide(ranking: Neighbors, rule: Rule, head: HeadScores | None) -> Decision:
    """Decide by the first k entries of a ranking (1, m), m ≥ 1, and by the scores of a head."""
    k, labels = rule.k, ranking.labels[:, : rule.k]
    sizes = sizes_of(labels, Counter(ranking.labels[0].tolist()))
    nearest = Neighbors(
        ranking.ids[:, :k], labels, ranking.distances[:, :k], sizes=sizes, head=head
    )
    return rule.decide(nearest)[0]


def removals(ranking: Neighbors, rule: Rule, head: HeadScores | None) -> list[Removal]:
    """Return the decision without each of the k nearest of a ranking (1, m), nearest first.

    The next entry votes instead. The scores of ``head``, if the rule has one, are by heads that
    never knew the entry, a row for each (``Head.compare_without``), for the first of the k.
    """
    ids, labels, distances = ranking.ids[0], ranking.labels[0], ranking.distances[0]
    k = min(rule.k, len(ids))
    if len(ids) == 1:
        return [Removal(ids[0], "", 0.0)]
    gone = np.arange(k if head is None else len(head.scores))[:, np.newaxis]
    places = np.arange(min(k, len(ids) - 1))
    left = places + (places >= gone)
    sizes = None
    if rule.balance:
        counts = sizes_of(labels[np.newaxis], Counter(labels.tolist()))[0]
        sizes = counts[left] - (labels[left] == labels[gone])
    voters = Neighbors(ids[left], labels[left], distances[left], sizes=sizes, head=head)
    return [
        Removal(id, decision.label, decision.confidence)
        for id, decision in zip(ids[: len(gone)].tolist(), rule.decide(voters), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class VotedCase:
    """The ranking (1, m) of all entries that decide one query by a ``rule`` without a head."""

    rule: Rule
    ranking: Neighbors

    @cached_property
    def decision(self) -> Decision:
        """The decision by all entries."""
        return decide(self.ranking, self.rule, None)

    @cached_property
    def removals(self) -> list[Removal]:
        """The decision without each of the k nearest entries, nearest first."""
        return removals(self.ranking, self.rule, None)

    def flip(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> Flip | None:
        """Return the result of ``smallest_flip``."""
        rule, ranking = self.rule, self.ranking
        return smallest_flip(
            ranking.labels[0],
            ranking.distances[0],
            rule.k,
            rule.weigh,
            rule.balance,
            seconds=seconds,
            clock=clock,
        )


@dataclass(frozen=True, eq=False)
class HeadedCase:
    """A unit ``query`` (1, d), and all entries that decide it by a ``rule`` with a head.

    The ``ranking`` (1, m) has all of them, nearest first; ``vectors`` (r, d) are of the first r,
    and ``statistics`` those of all, which the ``head`` was fitted to.
    """

    rule: Rule
    query: NDArray[np.float32]
    ranking: Neighbors
    head: Head
    statistics: Statistics
    vectors: NDArray[np.float32]

    @cached_property
    def decision(self) -> Decision:
        """The decision by all entries."""
        return decide(self.ranking, self.rule, self.head.compare(self.query))

    @cached_property
    def removals(self) -> list[Removal]:
        """The decision without each of the REMOVED_MAX nearest of k entries, nearest first."""
        labels = self.ranking.labels[0, : min(self.rule.k, REMOVED_MAX)].tolist()
        queries = np.repeat(self.query, len(labels), axis=0)
        scores = self.head.compare_without(queries, labels, self.vectors[: len(labels)])
        return removals(self.ranking, self.rule, scores)

    def winner_without(
        self, ranks: Ranks, *, invert: Callable[[Matrix], Matrix | None] = inverse
    ) -> str:
        """Return the label without the entries at these ranks below r, with the head fitted anew.

        ``invert`` is as for ``fit``. Raises RidgeTooSmall.
        """
        gone = list(ranks)
        statistics = self.statistics.copy()
        statistics.remove(self.ranking.labels[0, gone], self.vectors[gone])
        stays = np.ones(self.ranking.ids.shape[1], dtype=bool)
        stays[gone] = False
        head = fit(statistics, self.rule.fitted_ridge, invert=invert)
        return decide(self.ranking.kept(stays), self.rule, head.compare(self.query)).label

    def flip(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> Flip | None:
        """Return entries whose removal changes the label, or None if all have one label.

        If one of the nearest suffices, it is the nearest such entry, and proven. Else they are
        the winner's nearest entries, as many as suffice among the first r; their number is found by
        bisection, and may not be the smallest. No ranks and no label mean that all of these do not
        suffice, or that the ``seconds`` were over. Raises RidgeTooSmall.
        """
        deadline = clock() + seconds
        labels, winner = self.ranking.labels[0], self.decision.label
        if (labels == winner).all():
            return None
        for rank, each in enumerate(self.removals):
            if each.label == winner:
                continue
            if (found := self.winner_without((rank,))) != winner:
                return Flip((rank,), found, True)
            if clock() >= deadline:  # rounding errors misled the downdate: there may be more
                return Flip((), "", False)
        own = np.flatnonzero(labels[: len(self.vectors)] == winner).tolist()
        if clock() >= deadline or self._stays(own):
            return Flip((), "", False)
        too_few, enough = 0, len(own)
        while enough - too_few > 1 and clock() < deadline:
            middle = (too_few + enough) // 2
            if self._stays(own[:middle]):
                too_few = middle
            else:
                enough = middle
        label = self.winner_without(tuple(own[:enough]))
        return Flip((), "", False) if label == winner else Flip(tuple(own[:enough]), label, False)

    def _stays(self, ranks: list[int]) -> bool:
        """Return True if the label is the same without these ranks, but for rounding errors."""
        label = self.winner_without(tuple(ranks), invert=rounded_inverse)
        return label == self.decision.label
