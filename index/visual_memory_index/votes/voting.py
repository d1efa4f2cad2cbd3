"""Voting rules in one table, and the decision by a rule on neighbours as found or re-ranked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.neighbors import Neighbors
from visual_memory_index.votes.balance import balance_factors
from visual_memory_index.votes.exponential import exp

SOFTMAX_TEMPERATURE = 0.07  # after DINO (Caron et al., 2021)
RANK_OFFSET = 2.0
NUMERATOR = 1.75  # Geirhos et al., 2024, soft pruning

Counts: TypeAlias = NDArray[np.int64]
Ranking: TypeAlias = Sequence[str] | Mapping[str, float]
Weights: TypeAlias = NDArray[np.float64]
Voting: TypeAlias = Callable[[Weights], Weights]


def plurality(distances: Weights) -> Weights:
    """Return weight 1 for every neighbour (Geirhos et al., 2024, section 3)."""
    return np.ones_like(distances)


def distance(distances: Weights) -> Weights:
    """Return weights exp(−d): nearer counts more (Geirhos et al., 2024, section 3)."""
    return exp(-distances)


def softmax(distances: Weights, temperature: float = SOFTMAX_TEMPERATURE) -> Weights:
    """Return weights exp((1 − d) / temperature), not divided by the sum.

    That is the softmax voting of Geirhos et al., 2024, section 3; ``temperature`` is at least
    0.005, or the smallest weight would underflow.
    """
    return exp((1.0 - distances) / temperature)


def rank(distances: Weights) -> Weights:
    """Return weights 1 / (2 + rank), the nearest of rank 0 (Geirhos et al., 2024, section 3).

    Of ``distances`` only the shape is used.
    """
    weights = np.empty_like(distances)
    weights[:] = 1.0 / (RANK_OFFSET + np.arange(distances.shape[-1]))
    return weights


VOTINGS = MappingProxyType({rule.__name__: rule for rule in (plurality, distance, softmax, rank)})


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """The label of one query, with its votes.

    ``scores`` holds the total weight of every label with a vote, the winner first; with a head, the
    shares of the best labels, with votes or without. ``confidence`` is the winner's share of all
    weights. ``ids``, ``labels`` and ``distances`` (k,) are the neighbours, nearest first,
    ``weights`` (k,) the votes of each.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    distances: NDArray[np.float64]
    weights: Weights


def decide(neighbors: Neighbors, voting: Voting, balance: float = 0.0) -> list[Decision]:
    """Return one decision for each row of ``neighbors`` (n, k), k ≥ 1.

    Weights are multiplied by reliabilities if the neighbours have misleading counts, and by the
    factors of ``balance``, which needs the sizes of their labels unless it is 0.
    """
    weights = voting(neighbors.distances) * factors(neighbors, balance)
    return [
        to_decision(*row)
        for row in zip(neighbors.ids, neighbors.labels, neighbors.distances, weights, strict=True)
    ]


def factors(neighbors: Neighbors, balance: float) -> Weights:
    """Return the factors (n, k) of the votes of ``neighbors`` by reliability and ``balance``."""
    found = np.ones_like(neighbors.distances)
    if neighbors.v is not None:
        found = found * reliability(neighbors.v)
    if balance:
        assert neighbors.sizes is not None
        found = found * balance_factors(neighbors.sizes, balance)
    return found


def reliability(v: Counts) -> NDArray[np.float64]:
    """Return 1.75 / (1 + v), but 1 where v = 0, as in Geirhos et al., 2024, section 3.3."""
    return np.where(v == 0, 1.0, NUMERATOR / (1.0 + v))


def decide_reranked(
    neighbors: Neighbors, at: int, voting: Voting, ranking: Ranking, balance: float = 0.0
) -> Decision:
    """Return the decision for row ``at`` of ``neighbors`` (n, k), its k ids in a new ranking.

    If ``ranking`` is a sequence of the ids, it is their order: the rule's weights, which fall with
    the distance, are given to the neighbours in that order. If it is a mapping, it gives the
    weights themselves, at least 0 and not all 0; larger weights come first, equal weights in the
    former order. Weights are multiplied by the ``factors`` of the neighbours; given weights are
    first divided by the largest, since the smallest numbers would underflow.
    """
    ids = neighbors.ids[at]
    if isinstance(ranking, Mapping):
        given = np.array([ranking[id] for id in ids], dtype=np.float64)
        order = np.argsort(-given, kind="stable")
        weights = given[order]
        if neighbors.v is not None or balance:
            weights = weights / weights[0]
    else:
        place = {id: number for number, id in enumerate(ids)}
        order = np.array([place[id] for id in ranking], dtype=np.intp)
        weights = voting(neighbors.distances[at])
    weights = weights * factors(neighbors, balance)[at, order]
    return to_decision(
        ids[order], neighbors.labels[at, order], neighbors.distances[at, order], weights
    )


def to_decision(
    ids: NDArray[np.object_],
    labels: NDArray[np.object_],
    distances: NDArray[np.float64],
    weights: Weights,
) -> Decision:
    """Make the decision of k ≥ 1 neighbours, nearest first, each array (k,)."""
    scores = tally(labels, weights)
    winner = next(iter(scores))
    confidence = scores[winner] / math.fsum(scores.values())
    return Decision(winner, confidence, scores, ids, labels, distances, weights)


def tally(labels: Iterable[str], weights: Weights) -> dict[str, float]:
    """Sum the weights (k,) by label, in float64 and in their order; the winner comes first.

    A weight of 0 is no vote. A tie is won by the label that reached the score first: the label
    whose last vote came earlier.
    """
    totals: dict[str, float] = {}  # in the order of the last votes
    for label, weight in zip(labels, weights.tolist(), strict=True):
        if weight:
            totals[label] = totals.pop(label, 0.0) + weight
    return dict(sorted(totals.items(), key=itemgetter(1), reverse=True))
