"""How far the votes of a memory can be trusted, fitted to its entries as they were."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import (
    SCORES,
    VOTINGS,
    Decision,
    RamCopy,
    Recalibration,
    calibration_error,
    calibration_scores,
    check_calibratable,
    decide,
    draw_for,
    fit,
    prediction_set,
    q_hat,
    threshold,
)
from visual_memory_service.errors import NotCalibrated
from visual_memory_service.runtime import batches as asking
from visual_memory_service.runtime.memories import OpenMemory
from visual_memory_service.runtime.operations import Job

SETTING = "calibration"


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """See Calibration in operation.proto."""

    k: int
    voting: str
    count: int
    error_before: float
    error_after: float
    rejection_distance: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted to decisions at ``revision``.

    ``scores`` holds for each conformal rule what the right labels scored, ascending.
    """

    result: CalibrationResult
    revision: int
    created_at: int
    recalibration: Recalibration
    scores: dict[str, list[float]]

    def to_json(self) -> str:
        """As a memory keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What ``to_json`` gave."""
        fields: dict[str, Any] = json.loads(text)
        curve = fields.pop("recalibration")
        return cls(
            result=CalibrationResult(**fields.pop("result")),
            recalibration=Recalibration(tuple(curve["confidences"]), tuple(curve["accuracies"])),
            **fields,
        )

    def check(self, k: int, voting: str) -> None:
        """Raises NotCalibrated where it was fitted to other votes."""
        if (k, voting) != (self.result.k, self.result.voting):
            raise NotCalibrated(
                f"is calibrated for k = {self.result.k} and {self.result.voting} voting, but was "
                f"asked with k = {k} and {voting}",
                k,
                voting,
            )

    def confidence(self, decision: Decision) -> float:
        """How often such decisions are right."""
        return float(self.recalibration.apply(np.array([decision.confidence]))[0])

    def rejects(self, decision: Decision) -> bool:
        """Whether the query is unlike anything remembered."""
        return float(decision.distances[0]) > self.result.rejection_distance

    def label_set(
        self,
        decision: Decision,
        vector: NDArray[np.float32],
        labels: list[str],
        *,
        rule: str,
        coverage: float,
        allow_empty: bool,
    ) -> tuple[str, ...]:
        """The labels that hold the right one at this ``coverage``. Raises BadCoverage."""
        return prediction_set(
            SCORES[rule](decision.scores, draw_for(vector)),
            q_hat(self.scores[rule], coverage),
            winner=decision.label,
            labels=labels,
            allow_empty=allow_empty,
        )


def calibration_of(memory: OpenMemory) -> Calibration | None:
    """The memory's calibration."""
    return memory.setting(SETTING, Calibration.from_json)


def calibrate(
    snapshot: RamCopy,
    k: int,
    voting: str,
    job: Job,
    *,
    queries: NDArray[np.float32] | None = None,
    labels: Sequence[str] = (),
) -> Calibration:
    """Fit to ``queries`` (n, d) with their labels, or to what the entries say of each other.

    Raises TooFewItems, OneLabel, Cancelled.
    """
    wanted = snapshot.columns()[1] if queries is None else np.array(labels, dtype=object)
    check_calibratable(snapshot.label_counts, None if queries is None else len(queries))
    if queries is None:
        answered = asking.leave_one_out(snapshot, snapshot, k, job.told)
    else:
        answered = asking.given(snapshot, queries, k, job.told)
    confidences, right = np.empty(len(wanted)), np.empty(len(wanted), dtype=bool)
    nearest = np.empty(len(wanted))
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    for rows, neighbors in answered:
        decisions = decide(neighbors, VOTINGS[voting])
        confidences[rows] = [decision.confidence for decision in decisions]
        right[rows] = wanted[rows] == np.array([d.label for d in decisions], dtype=object)
        nearest[rows] = neighbors.distances[:, 0]
        asked = snapshot.vectors.gather(rows) if queries is None else queries[rows]
        draws = [draw_for(vector) for vector in asked]
        for name, score in SCORES.items():
            scored = (score(d.scores, draw) for d, draw in zip(decisions, draws, strict=True))
            scores[name] += calibration_scores(scored, wanted[rows])
    return Calibration(
        result=CalibrationResult(
            k=k,
            voting=voting,
            count=len(wanted),
            error_before=calibration_error(confidences, right),
            error_after=held_out_error(confidences, right),
            rejection_distance=threshold(nearest),
        ),
        revision=snapshot.revision,
        created_at=time.time_ns() // 1000,
        recalibration=fit(confidences, right),
        scores={name: sorted(each) for name, each in scores.items()},
    )


def held_out_error(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The calibration error of every second decision after a fit to the others, both ways.

    Decisions are halved by confidence, so that the order of rows does not matter.
    """
    order = np.lexsort((right, confidences))
    halves = (order[::2], order[1::2])
    calibrated = np.empty(len(order))
    for one, other in (halves, halves[::-1]):
        calibrated[other] = fit(confidences[one], right[one]).apply(confidences[other])
    return calibration_error(calibrated, right)
