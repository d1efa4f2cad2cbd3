"""Sets of labels that hold the right one as often as was asked (split conformal prediction)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.votes.coverage import rank_at

UNVOTED = 1.0  # what a label without a vote scores, by every rule
ROUNDING = 1e-12  # equal shares may differ in their last bits where they were summed otherwise

Votes: TypeAlias = Mapping[str, float]
Score: TypeAlias = Callable[[Votes, float], dict[str, float]]


def shares(votes: Votes) -> dict[str, float]:
    """Each label's share of all ``votes``, the largest first, equal ones by label in byte order.

    That of UTF-8 is that of Python's strings.
    """
    total = math.fsum(votes.values())
    ordered = sorted(votes, key=lambda label: (-votes[label], label))
    return {label: votes[label] / total for label in ordered}


def lac(votes: Votes, draw: float) -> dict[str, float]:
    """1 − p: the smallest sets on average (Sadinle et al., 2019); ``draw`` is not used."""
    return {label: 1.0 - share for label, share in shares(votes).items()}


def aps(votes: Votes, draw: float) -> dict[str, float]:
    """The share of the label with all before it (Romano et al., 2020); ``draw`` is not used.

    Where more than 1 − coverage of the decisions are unanimous and right, the set is all labels.
    """
    return randomized_aps(votes, 0.0)


def randomized_aps(votes: Votes, draw: float) -> dict[str, float]:
    """``aps`` less ``draw`` · p, which removes its over-coverage (Romano et al., 2020)."""
    ordered = shares(votes)
    reached = accumulate(ordered.values())
    return {
        label: total - draw * share
        for (label, share), total in zip(ordered.items(), reached, strict=True)
    }


SCORES: Mapping[str, Score] = MappingProxyType(
    {score.__name__: score for score in (lac, aps, randomized_aps)}
)


def draw_for(vector: NDArray[np.float32]) -> float:
    """A number in [0, 1) from the bits of ``vector`` (d,): random, and the same every time."""
    digest = hashlib.sha256(vector.astype("<f4").tobytes()).digest()
    return (int.from_bytes(digest[:8]) >> 11) * 2.0**-53


def calibration_scores(scored: Iterable[Mapping[str, float]], labels: Iterable[str]) -> list[float]:
    """What each item's own label scored, ascending: all that ``q_hat`` needs, at any coverage.

    ``scored`` holds a ``Score`` of each item's votes, ``labels`` its label.
    """
    return sorted(scores.get(label, UNVOTED) for scores, label in zip(scored, labels, strict=True))


def q_hat(calibration: Sequence[float], coverage: float) -> float:
    """The ⌈(n + 1) · coverage⌉-th smallest of n ascending scores, infinity beyond the last.

    Raises BadCoverage.
    """
    rank = rank_at(coverage, len(calibration) + 1)
    return calibration[rank - 1] if rank <= len(calibration) else math.inf


def prediction_set(
    scores: Mapping[str, float],
    q_hat: float,
    *,
    winner: str,
    labels: Collection[str],
    allow_empty: bool = False,
) -> tuple[str, ...]:
    """The labels that score at most ``q_hat``, in the order of ``scores``, a ``Score`` of votes.

    From ``q_hat`` = 1 on they are all of the memory's ``labels``: those without a vote come last,
    in byte order. The decision's ``winner`` is added unless ``allow_empty``: LAC leaves it out
    where its share is small, APS where it is large or where an equal one comes before it.
    """
    limit = q_hat + ROUNDING
    inside = tuple(
        label
        for label, score in scores.items()
        if score <= limit or (label == winner and not allow_empty)
    )
    if limit < UNVOTED:
        return inside
    return (*inside, *sorted(set(labels) - set(scores)))
