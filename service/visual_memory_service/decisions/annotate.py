"""Annotations of a decision: calibrated confidence, rejection, a set of labels, a node."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory.terminal.arguments import flags
from visual_memory_index import Decision, Neighbors, Node, Rule, Taxonomy, at_depth, deepest
from visual_memory_index.records.neighbors import HeadScores
from visual_memory_index.votes import conformal
from visual_memory_index.votes.coverage import distance_from_memory
from visual_memory_index.votes.shares import shares
from visual_memory_service.decisions.calibration import calibration_of
from visual_memory_service.decisions.taxonomy import taxonomy_of
from visual_memory_service.errors import NotCalibrated
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.runtime.threads import in_thread

ROUNDING = 1e-9  # of the sum of all shares, which is 1
NO_CALIBRATION = (
    "has no calibration (it was never calibrated, lost it when entries were unlearned or it was "
    "embedded anew, or has one of an earlier version)"
)


@dataclass(frozen=True, slots=True)
class DecisionOptions:
    """Annotations to add to a decision made by a ``rule``.

    ``calibrated`` and ``coverage`` need a calibration for the same rule; ``coverage`` asks for a
    set of labels by the ``conformal`` score, on average over what ``coverage_by`` names, which
    ``allow_empty`` lets be empty. ``level`` or ``min_confidence`` ask for a taxonomy node. If
    ``all_vote``, no entry is left out, and rejections are counted to tell a drift.
    """

    rule: Rule
    all_vote: bool
    calibrated: bool
    coverage: float | None
    coverage_by: str
    conformal: str
    allow_empty: bool
    min_confidence: float | None
    level: int | None

    @property
    def need_calibration(self) -> bool:
        """True if an annotation needs a calibration, and the comparison with class means."""
        return self.calibrated or self.coverage is not None


@dataclass(frozen=True, slots=True)
class AnnotatedDecision:
    """A decision and its annotations; an unwanted one is None, ``rejected`` then is False."""

    decision: Decision
    calibrated_confidence: float | None = None
    rejected: bool = False
    label_set: Sequence[str] | None = None
    node: Node | None = None


async def annotate(
    decisions: Sequence[Decision],
    neighbors: Neighbors,
    vectors: NDArray[np.float32],
    options: DecisionOptions | None,
    served: ServedMemory,
) -> tuple[list[AnnotatedDecision], bool]:
    """Annotate the decisions on ``vectors`` (n, d); also return True if the calibration is stale.

    The ``neighbors`` have class means where a calibration is needed. Raises NotCalibrated,
    BadParameter.
    """
    if options is None:
        return [AnnotatedDecision(decision) for decision in decisions], False
    async with served.fitting if options.need_calibration else nullcontext():
        return await in_thread(annotate_all, decisions, neighbors, vectors, options, served)


def annotate_all(
    decisions: Sequence[Decision],
    neighbors: Neighbors,
    vectors: NDArray[np.float32],
    options: DecisionOptions,
    served: ServedMemory,
) -> tuple[list[AnnotatedDecision], bool]:
    """Annotate as ``annotate`` does, but in the calling thread."""
    calibration = None
    if options.need_calibration:
        calibration, name = calibration_of(served), served.memory.identity.name
        if calibration is None:
            raise NotCalibrated(name, NO_CALIBRATION, flags(options.rule.parameters()))
        calibration.check(name, options.rule)
        assert neighbors.means is not None
        class_means = neighbors.means
    taxonomy = taxonomy_of(served)
    sure: Sequence[float | None] = [None] * len(decisions)
    rejected: Sequence[bool] = [False] * len(decisions)
    sets: Iterable[Sequence[str] | None] = [None] * len(decisions)
    if calibration and options.calibrated:
        sure = calibration.confidences(decisions)
        found = distance_from_memory(neighbors.distances[:, 0], class_means().distances)
        rejected = (found > calibration.result.rejection_distance).tolist()
        if options.all_vote:
            served.rejections.add(calibration.created_at, rejected)
    if calibration and options.coverage is not None:
        limits = calibration.limits(options.conformal, options.coverage, options.coverage_by)
        sets = label_sets(decisions, vectors, class_means, limits, options)
    annotated = [
        AnnotatedDecision(decision, confidence, far, labels, node(decision, options, taxonomy))
        for decision, confidence, far, labels in zip(decisions, sure, rejected, sets, strict=True)
    ]
    stale = calibration is not None and calibration.revision != neighbors.shown.revision
    return annotated, stale


def label_sets(
    decisions: Sequence[Decision],
    vectors: NDArray[np.float32],
    class_means: Callable[[], HeadScores],
    limits: conformal.Limits,
    options: DecisionOptions,
) -> Iterator[Sequence[str]]:
    """Yield for each decision the labels within ``limits``.

    Labels without a vote are scored by ``class_means``, only if one may be within ``limits``.
    """
    labels: Sequence[str] = ()
    head_shares = np.empty((len(decisions), 0))
    if limits.reach_unvoted:
        found = class_means()
        labels, head_shares = found.labels, shares(found.scores, Rule().head_temperature)
    score = conformal.SCORES[options.conformal]
    for decision, vector, row in zip(decisions, vectors, head_shares, strict=True):
        scores = score(decision.scores, conformal.draw_for(vector))
        yield conformal.prediction_set(
            scores,
            limits,
            winner=decision.label,
            unvoted=conformal.unvoted_scores(scores, labels, row),
            allow_empty=options.allow_empty,
        )


def node(decision: Decision, options: DecisionOptions, taxonomy: Taxonomy) -> Node | None:
    """Return the taxonomy node at ``options.level``, or the deepest node of ``min_confidence``.

    Returns None if neither is set.
    """
    votes, sure = decision.scores, options.min_confidence
    total = math.fsum(votes.values())
    if options.rule.head != "none" and total < 1.0 - ROUNDING:
        total = 1.0  # the sum for all labels, of which some have no score here
    if options.level is not None:
        return at_depth(taxonomy, votes, options.level, total=total)
    if sure is not None:
        return deepest(taxonomy, votes, min_confidence=sure, total=total)
    return None
