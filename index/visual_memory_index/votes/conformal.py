"""Split conformal prediction: sets of labels that contain the right one with a given coverage."""

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

UNVOTED = 1.0  # the score of a label without a vote, by every rule
ROUNDING = 1e-12  # equal shares may differ in their last bits if summed in another order

Votes: TypeAlias = Mapping[str, float]
Score: TypeAlias = Callable[[Votes, float], dict[str, float]]


def shares(votes: Votes) -> dict[str, float]:
    """Return each label's share of all ``votes``, largest first, equal ones in UTF-8 byte order.

    Python sorts strings in that order.
    """
    total = math.fsum(votes.values())
    ordered = sorted(votes, key=lambda label: (-votes[label], label))
    return {label: votes[label] / total for label in ordered}


def lac(votes: Votes, draw: float) -> dict[str, float]:
    """Score each label 1 − its share of the votes; ``draw`` is ignored.

    This gives the smallest sets on average (Sadinle et al., 2019).
    """
    return {label: 1.0 - share for label, share in shares(votes).items()}


def aps(votes: Votes, draw: float) -> dict[str, float]:
    """Score each label by its share plus all shares before it, as ``shares`` orders them.

    ``draw`` is ignored (Romano et al., 2020). If more than 1 − coverage of the calibration's
    decisions are unanimous and right, every set is all labels.
    """
    return randomized_aps(votes, 0.0)


def randomized_aps(votes: Votes, draw: float) -> dict[str, float]:
    """Score as ``aps``, less ``draw``, in [0, 1), times the label's share (Romano et al., 2020).

    Without it sets would cover more than they have to.
    """
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
    """Return a pseudo-random number in [0, 1), always the same for equal bits of ``vector``."""
    digest = hashlib.sha256(vector.astype("<f4").tobytes()).digest()
    return (int.from_bytes(digest[:8]) >> 11) * 2.0**-53


def calibration_scores(scored: Iterable[Mapping[str, float]], labels: Iterable[str]) -> list[float]:
    """Return the scores of the items' own labels, ascending, to be passed to ``q_hat``.

    ``scored`` has for each item the scores of all labels with votes, ``labels`` its own label.
    """
    return sorted(scores.get(label, UNVOTED) for scores, label in zip(scored, labels, strict=True))


def q_hat(calibration: Sequence[float], coverage: float) -> float:
    """Return the ⌈(n + 1) · coverage⌉-th smallest of n ascending scores, infinity if there is none.

    Raises BadCoverage if ``coverage`` is not strictly between 0 and 1.
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
    """Return the labels that score at most ``q_hat``, in the order of ``scores``.

    If ``q_hat`` is 1 or more, these are all of the memory's ``labels``; labels without a vote come
    last, in byte order. The decision's ``winner`` is added unless ``allow_empty``: LAC would leave
    it out if its share is small, APS if its share is large or an equal share comes before it.
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
