"""What a decision can carry beside its votes: how sure it is, a set of labels, a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Decision, Node, Taxonomy, at_depth, deepest
from visual_memory_service.decisions.calibration import Calibration, calibration_of
from visual_memory_service.decisions.taxonomy import taxonomy_of
from visual_memory_service.errors import BadField, NotCalibrated
from visual_memory_service.runtime.memories import OpenMemory


@dataclass(frozen=True, slots=True)
class Wishes:
    """What decisions shall carry; ``calibrated`` or a ``coverage`` need a calibration."""

    k: int
    voting: str
    calibrated: bool
    coverage: float | None
    rule: str
    allow_empty: bool
    min_confidence: float | None
    level: int | None

    def check_uncalibrated(self) -> None:
        """Raises BadField where a calibration is needed, whose votes no re-ranker changed."""
        if self.calibrated or self.coverage is not None:
            raise BadField(
                "reranker",
                "gives other votes than those that were calibrated; with none nobody is asked",
            )


@dataclass(frozen=True, slots=True)
class Refined:
    """A decision with what was wished for, None for what was not."""

    decision: Decision
    calibrated_confidence: float | None
    rejected: bool
    label_set: Sequence[str] | None
    node: Node | None


def refine(
    decisions: Sequence[Decision],
    vectors: NDArray[np.float32],
    wishes: Wishes,
    memory: OpenMemory,
) -> tuple[list[Refined], bool]:
    """Refine the decisions about ``vectors`` (n, d); whether the calibration used is stale.

    Raises NotCalibrated, BadCoverage.
    """
    calibration = None
    if wishes.calibrated or wishes.coverage is not None:
        calibration = calibration_of(memory)
        if calibration is None:
            raise NotCalibrated("was never calibrated", wishes.k, wishes.voting)
        calibration.check(wishes.k, wishes.voting)
    taxonomy = taxonomy_of(memory)
    labels = memory.memory.labels() if wishes.coverage is not None else []
    refined = [
        Refined(
            decision,
            calibration.confidence(decision) if calibration and wishes.calibrated else None,
            bool(calibration and wishes.calibrated and calibration.rejects(decision)),
            label_set(decision, vector, wishes, calibration, labels),
            node(decision, wishes, taxonomy),
        )
        for decision, vector in zip(decisions, vectors, strict=True)
    ]
    stale = calibration is not None and calibration.revision != memory.memory.revision
    return refined, stale


def label_set(
    decision: Decision,
    vector: NDArray[np.float32],
    wishes: Wishes,
    calibration: Calibration | None,
    labels: list[str],
) -> Sequence[str] | None:
    """The labels at the coverage that was wished for, None for no wish. Raises BadCoverage."""
    if calibration is None or wishes.coverage is None:
        return None
    return calibration.label_set(
        decision,
        vector,
        labels,
        rule=wishes.rule,
        coverage=wishes.coverage,
        allow_empty=wishes.allow_empty,
    )


def node(decision: Decision, wishes: Wishes, taxonomy: Taxonomy) -> Node | None:
    """Where the votes agree, None where nowhere or for no wish."""
    if wishes.level is not None:
        return at_depth(taxonomy, decision.scores, wishes.level)
    if wishes.min_confidence is not None:
        return deepest(taxonomy, decision.scores, min_confidence=wishes.min_confidence)
    return None
