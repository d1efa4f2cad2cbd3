"""The shares of a head's scores, and their blend with the shares of the votes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.neighbors import HeadScores
from visual_memory_index.votes.balance import balance_factors
from visual_memory_index.votes.exponential import exp
from visual_memory_index.votes.voting import Decision

SCORED_MAX = 1000  # labels of a decision that a head scores best


def head_shares(found: HeadScores, temperature: float, balance: float) -> NDArray[np.float64]:
    """Return each label's share of each query by a head: float64 (n, L), rows that sum to 1.

    Shares are in proportion to n^(1 − balance) · exp(score / temperature), with n the number of
    entries of the label, as if scores were log-likelihoods.
    """
    counts = np.maximum(found.counts, 1.0)  # a label without an entry scores −∞
    sizes = balance_factors(counts.astype(np.int64), balance - 1.0)
    return shares(found.scores, temperature, sizes)


def shares(
    scores: NDArray[np.float64], temperature: float, sizes: NDArray[np.float64] | float = 1.0
) -> NDArray[np.float64]:
    """Return shares (n, L) in proportion to ``sizes`` · exp(``scores`` / ``temperature``).

    Sizes are (L,) or (n, L). Scores (n, L) are from −1 to 1, or −∞: such a label has no share, and
    if no label has one, all shares are 0.
    """
    behind = np.maximum(scores - scores.max(axis=1, keepdims=True, initial=-1.0), -2.0)
    weights = np.where(np.isneginf(scores), 0.0, exp(behind / temperature)) * sizes
    totals = np.array([math.fsum(row) for row in weights.tolist()])[:, np.newaxis]
    found: NDArray[np.float64] = np.divide(weights, totals, out=weights, where=totals > 0.0)
    return found


def blended(
    decision: Decision, labels: tuple[str, ...], shares: NDArray[np.float64], blend: float
) -> Decision:
    """Return a decision by ``blend`` parts of a head's ``shares`` (L,) and 1 − ``blend`` of votes.

    Scored are the labels with votes and the ``SCORED_MAX`` of ``labels`` with the largest shares;
    the scores of all sum to 1. A label without a share is scored by votes alone. The weight of a
    neighbour is what it adds to a score. Equal scores come in the order of the votes, then of the
    shares and ``labels``.
    """
    largest = max(decision.scores.values())  # a sum of the smallest numbers has no inverse
    part = (1.0 - blend) / math.fsum(votes / largest for votes in decision.scores.values())
    best = np.argsort(-shares, kind="stable")[:SCORED_MAX].tolist()
    scores = {label: part * (votes / largest) for label, votes in decision.scores.items()}
    for at in dict.fromkeys([*places(labels, scores), *best]):
        if shares[at]:
            scores[labels[at]] = scores.get(labels[at], 0.0) + blend * float(shares[at])
    ordered = dict(sorted(scores.items(), key=lambda pair: -pair[1]))
    winner = next(iter(ordered))
    return replace(
        decision,
        label=winner,
        confidence=ordered[winner],
        scores=ordered,
        weights=part * (decision.weights / largest),
    )


def places(labels: tuple[str, ...], named: Iterable[str]) -> list[int]:
    """Return the places of the ``named`` labels in ``labels``, which ascend, where they are."""
    found = [(bisect_left(labels, label), label) for label in named]
    return [at for at, label in found if labels[at : at + 1] == (label,)]
