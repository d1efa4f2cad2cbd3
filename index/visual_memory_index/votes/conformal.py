"""Split conformal prediction: sets of labels that contain the right one with a given coverage."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.votes.coverage import rank_at

UNVOTED = 2.0  # less its share by class means: the score of a label without votes, by every rule
VOTED_MAX = 1.0  # the highest score of a label with a vote
ROUNDING = 1e-12  # equal shares may differ in their last bits if summed in another order

Numbers: TypeAlias = NDArray[np.float64]
Votes: TypeAlias = Mapping[str, float]
Score: TypeAlias = Callable[[Votes, float], dict[str, float]]


def shares(votes: Votes) -> dict[str, float]:
    """Return each label's share of all ``votes``, largest first, equal ones in UTF-8 byte order.

    Python sorts strings in that order. A label with too small a share to tell its score from that
    of others has as good as no vote, and is left out.
    """
    total = math.fsum(votes.values())
    ordered = sorted(votes, key=lambda label: (-votes[label], label))
    found = {label: votes[label] / total for label in ordered}
    return {label: share for label, share in found.items() if share >= ROUNDING}


def lac(votes: Votes, draw: float) -> dict[str, float]:
    """Score each label 1 − its share of the votes; ``draw`` is ignored.

    This gives the smallest sets on average (Sadinle et al., 2019).
    """
    return {label: 1.0 - share for label, share in shares(votes).items()}


def randomized_aps(votes: Votes, draw: float) -> dict[str, float]:
    """Score each label by its share plus all shares before it, less ``draw`` times its share.

    The shares are in the order of ``shares``, and ``draw`` is in [0, 1) (Romano et al., 2020).
    """
    ordered = shares(votes)
    reached = accumulate(ordered.values())
    return {
        label: total - draw * share
        for (label, share), total in zip(ordered.items(), reached, strict=True)
    }


SCORES: Mapping[str, Score] = MappingProxyType(
    {score.__name__: score for score in (lac, randomized_aps)}
)


def draw_for(vector: NDArray[np.float32]) -> float:
    """Return a pseudo-random number in [0, 1), always the same for equal bits of ``vector``."""
    digest = hashlib.sha256(vector.astype("<f4").tobytes()).digest()
    return (int.from_bytes(digest[:8]) >> 11) * 2.0**-53


def own_score(scores: Mapping[str, float], label: str, head_share: float) -> float:
    """Return the score of an item's own label, to be passed to ``q_hat``.

    ``scores`` are those of the labels with votes. Any other label scores above these: 2 less its
    share by a head, 0 if the head does not know it.
    """
    return scores.get(label, UNVOTED - head_share)


def unvoted_scores(
    scores: Mapping[str, float], labels: Sequence[str], head_shares: Numbers
) -> dict[str, float]:
    """Score each of a head's ``labels`` that has no vote, the lowest first.

    ``head_shares`` (L,) are of these labels, which are in byte order; so are equal scores.
    """
    order = np.argsort(-head_shares, kind="stable").tolist()
    return {
        labels[at]: UNVOTED - float(head_shares[at]) for at in order if labels[at] not in scores
    }


def q_hat(calibration: Numbers, coverage: float) -> float:
    """Return the ⌈(n + 1) · coverage⌉-th smallest of n scores, infinity if there is none.

    Raises BadParameter if ``coverage`` is not strictly between 0 and 1.
    """
    rank = rank_at(coverage, len(calibration) + 1)
    if rank > len(calibration):
        return math.inf
    return float(np.partition(calibration, rank - 1)[rank - 1])


class Limits(NamedTuple):
    """The highest score that is in a set: of each label its ``own``, or that of all ``others``."""

    own: Mapping[str, float]
    others: float

    def of(self, label: str) -> float:
        """Return the highest score of ``label`` that is in a set."""
        return self.own.get(label, self.others) + ROUNDING

    @property
    def reach_unvoted(self) -> bool:
        """True if a label may be in a set without a vote."""
        return max((self.others, *self.own.values())) + ROUNDING >= VOTED_MAX


class Calibration(NamedTuple):
    """The scores ``over_all`` items (n,), and those of each label that has some, (n,) with n ≥ 1.

    Items of one group tell of each other, so one of each group is in ``over_all``, and one of each
    label in it in ``of_labels``.
    """

    over_all: Numbers
    of_labels: Mapping[str, Numbers]


def over_all(calibration: Calibration, coverage: float) -> Limits:
    """Return one limit for all labels: sets hold the right label on average over all cases.

    This is marginal coverage. Raises BadParameter.
    """
    return Limits({}, q_hat(calibration.over_all, coverage))


def over_each_label(calibration: Calibration, coverage: float) -> Limits:
    """Return a limit for each label: sets hold it on average over the cases of this label.

    This is label-conditional coverage (Vovk, 2012, Conditional validity of inductive conformal
    predictors). A label of n items, too few for a finite limit, has the highest of their scores,
    which covers n / (n + 1) of its cases, or if that is higher the limit of ``over_all``, as has a
    label without items that votes or a head knew. So sets only grow with the coverage. Raises
    BadParameter.
    """
    others = over_all(calibration, coverage).others
    own = {
        label: (q_hat(scores, coverage), scores.max())
        for label, scores in calibration.of_labels.items()
        if scores.min() < UNVOTED
    }
    return Limits(
        {
            label: limit if limit < math.inf else max(float(highest), others)
            for label, (limit, highest) in own.items()
        },
        others,
    )


LIMITS: Mapping[str, Callable[[Calibration, float], Limits]] = MappingProxyType(
    {"all": over_all, "label": over_each_label}
)
"""What a coverage is the average over."""


def prediction_set(
    scores: Mapping[str, float],
    limits: Limits,
    *,
    winner: str,
    unvoted: Mapping[str, float],
    allow_empty: bool = False,
) -> tuple[str, ...]:
    """Return the labels that score within ``limits``, in the order of ``scores``.

    The ``unvoted`` labels, with their scores, come last. The decision's ``winner`` is added unless
    ``allow_empty``: LAC would leave it out if its share is small, APS if its share is large.
    """
    return tuple(
        label
        for label, score in (*scores.items(), *unvoted.items())
        if score <= limits.of(label) or (label == winner and not allow_empty)
    )
