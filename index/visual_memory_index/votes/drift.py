"""Drift: more of the last queries are rejected than their calibration lets expect."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from visual_memory_index.votes.coverage import KEPT, rank_at

WINDOW = 20  # queries; a longer window dilutes a sudden change, and trusts the calibration more
P_VALUE_MAX = 0.002  # of a drift


@dataclass(frozen=True, slots=True)
class Drift:
    """The last ``count`` queries, the ``rejected`` ones among them, and how many were ``expected``.

    ``p_value`` is the probability that chance alone rejects as many or more.
    """

    count: int
    rejected: int
    expected: float
    p_value: float

    @property
    def drifting(self) -> bool:
        """Return True if so many rejections are not put down to chance."""
        return self.p_value <= P_VALUE_MAX


def drift(count: int, rejected: int, calibrated: int) -> Drift:
    """Compare the ``rejected`` of ``count`` queries with what ``calibrated`` queries let expect.

    Where calibration queries come in groups, such as the frames of one scene, these are one of
    each, drawn at random; the others do not count.

    A query is rejected if it is farther from the memory than the r-th nearest of the n calibration
    queries, r = ⌈0.95 n⌉. If all queries are exchangeable, each order of the n + m of them by
    distance is as likely as another, so that the number of rejected ones among m is negative
    hypergeometric (beta-binomial with parameters n − r + 1 and r), which is summed in integers;
    equal distances only make rejections fewer (Vovk, 2012, Conditional validity of inductive
    conformal predictors, section 2). One query of each of n + m exchangeable groups, drawn at
    random, is exchangeable however alike those of one group are (single subsampling: Dunn,
    Wasserman and Ramdas, 2023, Distribution-free prediction sets for two-layer hierarchical
    models). All of them are not: those of a group may be equally far, and few groups set the limit.
    """
    accepted = rank_at(KEPT, calibrated)
    beyond = calibrated - accepted
    ways = sum(
        comb(beyond + far, far) * comb(accepted - 1 + count - far, count - far)
        for far in range(rejected, count + 1)
    )
    return Drift(
        count=count,
        rejected=rejected,
        expected=count * (beyond + 1) / (calibrated + 1),
        p_value=ways / comb(calibrated + count, count),
    )
