"""Decisions by neighbours that a re-ranker has put in another order or weighed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from visual_memory_index.records.neighbors import Neighbors
from visual_memory_index.votes.reliability import reliability
from visual_memory_index.votes.voting import Decision, Voting, to_decision

Ranking: TypeAlias = Sequence[str] | Mapping[str, float]


def decide_reranked(neighbors: Neighbors, at: int, voting: Voting, ranking: Ranking) -> Decision:
    """Return the decision for row ``at`` of ``neighbors`` (n, k), its k ids ranked anew.

    A sequence of the ids is an order: the rule's weights, which fall with the distance, go to the
    neighbours in that order. A mapping gives the weights themselves, at least 0 and not all 0;
    larger ones go first, equal ones as they were. Where the neighbours carry counts, weights are
    multiplied by reliabilities, given ones as parts of the largest, since the smallest numbers
    would underflow.
    """
    ids = neighbors.ids[at]
    if isinstance(ranking, Mapping):
        given = np.array([ranking[id] for id in ids], dtype=np.float64)
        order = np.argsort(-given, kind="stable")
        weights = given[order]
        if neighbors.v is not None:
            weights = weights / weights[0]
    else:
        place = {id: number for number, id in enumerate(ids)}
        order = np.array([place[id] for id in ranking], dtype=np.intp)
        weights = voting(neighbors.distances[at])
    if neighbors.v is not None:
        weights = weights * reliability(neighbors.v[at, order])
    return to_decision(
        ids[order], neighbors.labels[at, order], neighbors.distances[at, order], weights
    )
