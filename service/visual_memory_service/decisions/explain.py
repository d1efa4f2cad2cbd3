"""Explanation of one decision: with other entries, and the smallest change that flips it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Decision, Memory, Neighbors, Rule, exact_distances
from visual_memory_index.curation.removal import (
    FLIP_RANKS,
    HeadedCase,
    Removal,
    VotedCase,
    decide,
)
from visual_memory_index.errors import EmptyMemory, NotVoting
from visual_memory_index.heads.head import Head, fit
from visual_memory_index.ram.ranked import HeadWish, RankedHead


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """Hypothetical changes: entries removed, relabelled, or added as unit rows (b, d)."""

    remove: Sequence[str]
    relabel: Mapping[str, str]
    add_vectors: NDArray[np.float32]
    add_labels: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.remove or self.relabel or len(self.add_labels))


@dataclass(frozen=True, slots=True, eq=False)
class ExplainQuestion:
    """One query, an image or a unit vector (1, d), and the explanation wanted of its decision.

    The search for the smallest flip takes at most ``seconds``.
    """

    query: Sequence[bytes] | NDArray[np.float32]
    rule: Rule
    exclude_ids: Sequence[str]
    what_if: WhatIf
    seconds: float
    with_thumbnails: bool


@dataclass(frozen=True, slots=True)
class MinimalFlip:
    """Smallest set of entries whose removal changes the label; no ids if none was found."""

    ids: list[str]
    label: str
    proven_minimal: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, the decision after the changes or None, and the smallest flip or None.

    ``removals`` has one for each neighbour of the decision, with a head of the REMOVED_MAX nearest.
    ``thumbnails`` maps the ids of the entries in all of these to JPEGs, if wanted.
    """

    before: Decision
    after: Decision | None
    minimal_flip: MinimalFlip | None
    removals: list[Removal]
    thumbnails: Mapping[str, bytes]


def explain(
    question: ExplainQuestion, query: NDArray[np.float32], memory: Memory, over: threading.Event
) -> Explanation:
    """Explain the decision about one unit ``query`` (1, d).

    Once ``over`` is set, the search for the smallest flip ends with what it has found. Raises
    EmptyMemory if no entry is left to vote, NotVoting for entries of ``what_if`` that do not vote,
    HeadTooLarge, RidgeTooSmall.
    """
    rule, what_if = question.rule, question.what_if
    wish = None
    if rule.has_head:
        changed_ids = [*what_if.remove, *what_if.relabel]
        wish = HeadWish(rule.fitted_ridge, max(rule.k, FLIP_RANKS), changed_ids)
    ranking, ranked_head = memory.ranking(query, question.exclude_ids, wish)
    if not ranking.ids.shape[1]:
        raise EmptyMemory("No entry of this memory is left to vote, so there is no decision.")
    check_votes(what_if, ranking)

    def clock() -> float:
        return math.inf if over.is_set() else time.monotonic()

    left = changed(ranking, query, what_if) if what_if else None
    if left is not None and not left.ids.shape[1]:
        raise EmptyMemory("With this nobody would be left to vote.")
    case: VotedCase | HeadedCase = VotedCase(rule, ranking)
    if ranked_head is not None:
        head, statistics = ranked_head.fit(), ranked_head.count()
        case = HeadedCase(rule, query, ranking, head, statistics, ranked_head.vectors)
    before, flip = case.decision, case.flip(seconds=question.seconds, clock=clock)
    after = None
    if left is not None:
        scores = None
        if ranked_head is not None:
            scores = head_after(ranked_head, ranking, what_if, rule).compare(query)
        after = decide(left, rule, scores)
    fewest = [] if flip is None else ranking.ids[0, list(flip.ranks)].tolist()
    named = {*before.ids, *(after.ids if after else ()), *fewest}
    return Explanation(
        before,
        after,
        None if flip is None else MinimalFlip(fewest, flip.label, flip.proven_minimal),
        case.removals,
        memory.thumbnails(list(named) if question.with_thumbnails else []),
    )


def check_votes(what_if: WhatIf, ranking: Neighbors) -> None:
    """Raise NotVoting if an entry to remove or relabel does not vote."""
    there = set(ranking.ids[0])
    unknown = [id for id in (*what_if.remove, *what_if.relabel) if id not in there]
    if unknown:
        raise NotVoting(unknown)


def changed(ranking: Neighbors, query: NDArray[np.float32], what_if: WhatIf) -> Neighbors:
    """Apply ``what_if`` to a ranking (1, m); added entries get an empty id."""
    gone = set(what_if.remove)
    left = ranking.kept(np.array([id not in gone for id in ranking.ids[0]], dtype=bool))
    pairs = zip(left.ids[0], left.labels[0], strict=True)
    labels = [*what_if.add_labels, *(what_if.relabel.get(id, label) for id, label in pairs)]
    ids = [""] * len(what_if.add_labels) + left.ids[0].tolist()
    distances = np.append(exact_distances(query[0], what_if.add_vectors), left.distances[0])
    order = np.argsort(distances, kind="stable")[np.newaxis]
    return Neighbors(
        np.array(ids, dtype=object)[order], np.array(labels, dtype=object)[order], distances[order]
    )


def head_after(ranked_head: RankedHead, ranking: Neighbors, what_if: WhatIf, rule: Rule) -> Head:
    """Return the head of a ``rule`` for the entries of a ranking (1, m) after ``what_if``.

    Raises HeadTooLarge, RidgeTooSmall.
    """
    statistics, vectors = ranked_head.count(), ranked_head.named
    label_of = dict(zip(ranking.ids[0], ranking.labels[0], strict=True))
    gone = set(what_if.remove)
    if gone:
        statistics.remove([label_of[id] for id in gone], np.stack([vectors[id] for id in gone]))
    for id, label in what_if.relabel.items():
        if id not in gone:
            statistics.relabel(label_of[id], label, vectors[id])
    statistics.add(what_if.add_labels, what_if.add_vectors)
    return fit(statistics, rule.fitted_ridge)
