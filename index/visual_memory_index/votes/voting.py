"""How the labels of the nearest entries become one label: the rules, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.neighbors import Neighbors
from visual_memory_index.votes.exponential import exp
from visual_memory_index.votes.reliability import reliability

SOFTMAX_TEMPERATURE = 0.07  # after DINO (Caron et al., 2021)
RANK_OFFSET = 2.0

Weights: TypeAlias = NDArray[np.float64]
Voting: TypeAlias = Callable[[Weights], Weights]


def plurality(distances: Weights) -> Weights:
    """1: every neighbour counts the same (Geirhos et al., 2024, section 3)."""
    return np.ones_like(distances)


def distance(distances: Weights) -> Weights:
    """exp(−d): nearer counts more (Geirhos et al., 2024, section 3)."""
    return exp(-distances)


def softmax(distances: Weights) -> Weights:
    """exp((1 − d) / 0.07), not divided by any sum (Geirhos et al., 2024, section 3)."""
    return exp((1.0 - distances) / SOFTMAX_TEMPERATURE)


def rank(distances: Weights) -> Weights:
    """1 / (2 + rank): blind to the scale of distances (Geirhos et al., 2024, section 3)."""
    ranks = np.arange(distances.shape[-1])
    return np.broadcast_to(1.0 / (RANK_OFFSET + ranks), distances.shape)


VOTINGS = MappingProxyType({rule.__name__: rule for rule in (plurality, distance, softmax, rank)})


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """One query's label, and why.

    ``scores`` holds the total weight of every label that got a vote, the winner first.
    ``confidence`` is the winner's share of all weights. ``ids``, ``labels`` and ``distances``
    (k,) are the neighbours, nearest first, ``weights`` (k,) what each added to its label.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    distances: NDArray[np.float64]
    weights: Weights


def decide(neighbors: Neighbors, voting: Voting) -> list[Decision]:
    """One decision for each row of ``neighbors`` (n, k), k ≥ 1; soft where they carry counts."""
    weights = voting(neighbors.distances)
    if neighbors.v is not None:
        weights = weights * reliability(neighbors.v)
    return [
        tally(*row)
        for row in zip(neighbors.ids, neighbors.labels, neighbors.distances, weights, strict=True)
    ]


def winners(
    codes: NDArray[np.int32], weights: Weights, labels: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The labels of ``decide`` alone, for many: the winning code and its share of each row.

    ``codes`` int32 (n, k) number ``labels`` labels; ``weights`` float64 (n, k).
    """
    n, k = codes.shape
    cells = (codes + np.arange(n)[:, np.newaxis] * labels).ravel()
    totals = np.bincount(cells, weights.ravel(), minlength=n * labels).reshape(n, labels)
    last_vote = np.zeros(n * labels, dtype=np.intp)
    last_vote[cells] = np.tile(np.arange(k), n)
    best = totals.max(axis=1, keepdims=True)
    tied = np.where(totals == best, last_vote.reshape(n, labels), k)
    winning = tied.argmin(axis=1)
    shares = best[:, 0] / totals.sum(axis=1)
    return winning.astype(np.int32), shares


def tally(
    ids: NDArray[np.object_],
    labels: NDArray[np.object_],
    distances: NDArray[np.float64],
    weights: Weights,
) -> Decision:
    """Sum the weights by label, nearest first, in float64; a weight of 0 is no vote.

    A tie stays with the label that reached the score first: that is the label whose last vote came
    earlier.
    """
    totals: dict[str, float] = {}
    last_vote: dict[str, int] = {}
    for position, (label, weight) in enumerate(zip(labels, weights.tolist(), strict=True)):
        if not weight:
            continue
        totals[label] = totals.get(label, 0.0) + weight
        last_vote[label] = position
    ordered = sorted(totals, key=lambda label: (-totals[label], last_vote[label]))
    winner = ordered[0]
    return Decision(
        label=winner,
        confidence=totals[winner] / math.fsum(totals.values()),
        scores={label: totals[label] for label in ordered},
        ids=ids,
        labels=labels,
        distances=distances,
        weights=weights,
    )
