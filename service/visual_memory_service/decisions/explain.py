"""Explanation of one decision: with other entries, and the smallest change that flips it."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import (
    Decision,
    Memory,
    Neighbors,
    Rule,
    exact_distances,
    sizes_of,
    smallest_flip,
)
from visual_memory_index.errors import EmptyMemory, NotVoting


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
    """Smallest set of entries whose removal changes the label."""

    ids: list[str]
    label: str
    proven_minimal: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, the decision after the changes or None, and the smallest flip or None.

    ``thumbnails`` maps the ids of the entries in all three to JPEGs, if wanted.
    """

    before: Decision
    after: Decision | None
    minimal_flip: MinimalFlip | None
    thumbnails: Mapping[str, bytes]


def explain(
    question: ExplainQuestion, query: NDArray[np.float32], memory: Memory, over: threading.Event
) -> Explanation:
    """Explain the decision about one unit ``query`` (1, d).

    Once ``over`` is set, the search for the smallest flip ends with what it has found. Raises
    EmptyMemory if no entry is left to vote, NotVoting for entries of ``what_if`` that do not vote.
    """
    rule, what_if = question.rule, question.what_if
    ranking = without(memory.ranking(query), question.exclude_ids)
    if not ranking.ids.shape[1]:
        raise EmptyMemory("No entry of this memory is left to vote, so there is no decision.")
    check_votes(what_if, ranking)

    def clock() -> float:
        return math.inf if over.is_set() else time.monotonic()

    flip = smallest_flip(
        ranking.labels[0],
        ranking.distances[0],
        rule.k,
        rule.weigh,
        rule.balance,
        seconds=question.seconds,
        clock=clock,
    )
    before = decision(ranking, rule)
    after = decision(changed(ranking, query, what_if), rule) if what_if else None
    fewest = [] if flip is None else ranking.ids[0, list(flip.ranks)].tolist()
    named = {*before.ids, *(after.ids if after else ()), *fewest}
    return Explanation(
        before,
        after,
        None if flip is None else MinimalFlip(fewest, flip.label, flip.proven_minimal),
        memory.thumbnails(list(named) if question.with_thumbnails else []),
    )


def decision(ranking: Neighbors, rule: Rule) -> Decision:
    """Decide by the first k entries of a ranking (1, m). Raises EmptyMemory if it has none."""
    if not ranking.ids.shape[1]:
        raise EmptyMemory("With this nobody would be left to vote.")
    k, labels = rule.k, ranking.labels[:, : rule.k]
    sizes = sizes_of(labels, Counter(ranking.labels[0].tolist()))
    nearest = Neighbors(ranking.ids[:, :k], labels, ranking.distances[:, :k], sizes=sizes)
    return rule.decide(nearest)[0]


def check_votes(what_if: WhatIf, ranking: Neighbors) -> None:
    """Raise NotVoting if an entry to remove or relabel does not vote."""
    there = set(ranking.ids[0])
    unknown = [id for id in (*what_if.remove, *what_if.relabel) if id not in there]
    if unknown:
        raise NotVoting(unknown)


def without(ranking: Neighbors, ids: Sequence[str]) -> Neighbors:
    """Return a ranking (1, m) without the entries ``ids``."""
    if not ids:
        return ranking
    gone = set(ids)
    kept = np.array([id not in gone for id in ranking.ids[0]], dtype=bool)
    return Neighbors(ranking.ids[:, kept], ranking.labels[:, kept], ranking.distances[:, kept])


def changed(ranking: Neighbors, query: NDArray[np.float32], what_if: WhatIf) -> Neighbors:
    """Apply ``what_if`` to a ranking (1, m); added entries get an empty id."""
    left = without(ranking, what_if.remove)
    pairs = zip(left.ids[0], left.labels[0], strict=True)
    labels = [*what_if.add_labels, *(what_if.relabel.get(id, label) for id, label in pairs)]
    ids = [""] * len(what_if.add_labels) + left.ids[0].tolist()
    distances = np.append(exact_distances(query[0], what_if.add_vectors), left.distances[0])
    order = np.argsort(distances, kind="stable")[np.newaxis]
    return Neighbors(
        np.array(ids, dtype=object)[order], np.array(labels, dtype=object)[order], distances[order]
    )
