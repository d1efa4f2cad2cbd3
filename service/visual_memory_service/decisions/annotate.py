"""Annotations of a decision: calibrated confidence, rejection, a set of labels, a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Decision, Node, Rule, Taxonomy, at_depth, deepest
from visual_memory_index.votes import conformal
from visual_memory_service.decisions.calibration import Calibration, calibration_of, to_flags
from visual_memory_service.decisions.taxonomy import taxonomy_of
from visual_memory_service.errors import NotCalibrated
from visual_memory_service.runtime.memories import ServedMemory
from visual_memory_service.runtime.threads import in_thread

NO_CALIBRATION = (
    "has no calibration (it was never calibrated, or lost it when entries were unlearned)"
)


@dataclass(frozen=True, slots=True)
class DecisionOptions:
    """Annotations to add to a decision made by a ``rule``.

    ``calibrated`` and ``coverage`` need a calibration for the same rule; ``coverage`` asks for a
    set of labels by the ``conformal`` score, which ``allow_empty`` lets be empty. ``level`` or
    ``min_confidence`` ask for a taxonomy node.
    """

    rule: Rule
    calibrated: bool
    coverage: float | None
    conformal: str
    allow_empty: bool
    min_confidence: float | None
    level: int | None


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
    vectors: NDArray[np.float32],
    options: DecisionOptions | None,
    served: ServedMemory,
) -> tuple[list[AnnotatedDecision], bool]:
    """Annotate the decisions on ``vectors`` (n, d); also return True if the calibration is stale.

    Raises NotCalibrated, BadCoverage.
    """
    if options is None:
        return [AnnotatedDecision(decision) for decision in decisions], False
    return await in_thread(annotate_all, decisions, vectors, options, served)


def annotate_all(
    decisions: Sequence[Decision],
    vectors: NDArray[np.float32],
    options: DecisionOptions,
    served: ServedMemory,
) -> tuple[list[AnnotatedDecision], bool]:
    """Annotate as ``annotate`` does, but in the calling thread."""
    calibration = None
    if options.calibrated or options.coverage is not None:
        calibration, name = calibration_of(served), served.memory.identity.name
        if calibration is None:
            raise NotCalibrated(name, NO_CALIBRATION, to_flags(options.rule))
        calibration.check(name, options.rule)
    taxonomy = taxonomy_of(served)
    labels = served.memory.labels() if options.coverage is not None else []
    annotated = [
        AnnotatedDecision(
            decision,
            calibration.confidence(decision) if calibration and options.calibrated else None,
            bool(calibration and options.calibrated and calibration.rejects(decision)),
            label_set(decision, vector, options, calibration, labels),
            node(decision, options, taxonomy),
        )
        for decision, vector in zip(decisions, vectors, strict=True)
    ]
    stale = calibration is not None and calibration.revision != served.memory.revision
    return annotated, stale


def label_set(
    decision: Decision,
    vector: NDArray[np.float32],
    options: DecisionOptions,
    calibration: Calibration | None,
    labels: list[str],
) -> Sequence[str] | None:
    """Return labels that include the right one with the wanted coverage, None if none is wanted.

    Raises BadCoverage.
    """
    if calibration is None or options.coverage is None:
        return None
    return conformal.prediction_set(
        conformal.SCORES[options.conformal](decision.scores, conformal.draw_for(vector)),
        conformal.q_hat(calibration.scores[options.conformal], options.coverage),
        winner=decision.label,
        labels=labels,
        allow_empty=options.allow_empty,
    )


def node(decision: Decision, options: DecisionOptions, taxonomy: Taxonomy) -> Node | None:
    """Return the taxonomy node at ``options.level``, or the deepest node of ``min_confidence``.

    Returns None if neither is set.
    """
    if options.level is not None:
        return at_depth(taxonomy, decision.scores, options.level)
    if options.min_confidence is not None:
        return deepest(taxonomy, decision.scores, min_confidence=options.min_confidence)
    return None
