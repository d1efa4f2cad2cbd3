"""Calibration of a memory: fits confidences, conformal scores and a rejection distance."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory_index.votes import conformal
from visual_memory_service.errors import NotCalibrated
from visual_memory_service.runtime.batches import leave_one_out_in_batches, nearest_in_batches
from visual_memory_service.runtime.memories import ServedMemory
from visual_memory_service.runtime.operations import Job

SETTING = "calibration"
DEFAULT = index.Rule()


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """Result of a calibration, as Calibration in operation.proto."""

    k: int
    voting: str
    count: int
    error_before: float
    error_after: float
    rejection_distance: float
    temperature: float = DEFAULT.temperature
    balance: float = DEFAULT.balance


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration fitted to decisions at a memory's ``revision``.

    ``scores`` maps each conformal rule to the scores of the right labels, ascending.
    """

    result: CalibrationResult
    revision: int
    created_at: int
    recalibration: index.Recalibration
    scores: dict[str, list[float]]

    def to_json(self) -> str:
        """Return the calibration as the JSON text that a memory stores."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Parse a calibration from the JSON text that ``to_json`` returned."""
        fields: dict[str, Any] = json.loads(text)
        curve = fields.pop("recalibration")
        return cls(
            result=CalibrationResult(**fields.pop("result")),
            recalibration=index.Recalibration(
                tuple(curve["confidences"]), tuple(curve["accuracies"])
            ),
            **fields,
        )

    @property
    def rule(self) -> index.Rule:
        """Return the rule of the decisions that this calibration is for."""
        found = self.result
        return index.Rule(found.k, found.voting, found.temperature, found.balance)

    def check(self, memory: str, rule: index.Rule) -> None:
        """Raise NotCalibrated if this calibration of ``memory`` is for another rule."""
        if rule != self.rule:
            problem = f"is calibrated for {self.rule} votes, but was asked for {rule}"
            raise NotCalibrated(memory, problem, to_flags(rule))

    def confidence(self, decision: index.Decision) -> float:
        """Return the calibrated confidence in [0, 1]: how likely the decision is right."""
        return float(self.recalibration.apply(np.array([decision.confidence]))[0])

    def rejects(self, decision: index.Decision) -> bool:
        """Return True if the decision's nearest entry is farther than the rejection distance."""
        return float(decision.distances[0]) > self.result.rejection_distance


def to_flags(rule: index.Rule) -> str:
    """Return the flags of a command that ask for decisions by ``rule``."""
    flags = f"--k {rule.k} --voting {rule.voting}"
    if rule.temperature != DEFAULT.temperature:
        flags += f" --temperature {rule.temperature:g}"
    return f"{flags} --balance {rule.balance:g}" if rule.balance else flags


def calibration_of(served: ServedMemory) -> Calibration | None:
    """Return the stored calibration of a memory, or None."""
    return served.setting(SETTING, Calibration.from_json)


def calibrate_memory(
    job: Job, rule: index.Rule, *, queries: NDArray[np.float32] | None, labels: Sequence[str]
) -> None:
    """Calibrate the job's memory; store calibration and end of operation in one transaction."""
    found = calibrate(job.memory.snapshot(), rule, job, queries=queries, labels=labels)
    job.memory.operations.end(
        job.name,
        "done",
        result=json.dumps(asdict(found.result)),
        settings={SETTING: found.to_json()},
        call="CalibrateMemory",
    )


def calibrate(
    snapshot: index.RamCopy,
    rule: index.Rule,
    job: Job,
    *,
    queries: NDArray[np.float32] | None = None,
    labels: Sequence[str] = (),
) -> Calibration:
    """Fit a calibration to labelled unit ``queries`` (n, d), or leave-one-out to the entries.

    Raises TooFewItems, OneLabel, Cancelled.
    """
    wanted = snapshot.columns()[1] if queries is None else np.array(labels, dtype=object)
    index.check_calibratable(snapshot.label_counts, None if queries is None else len(queries))
    if queries is None:
        answered = leave_one_out_in_batches(snapshot, snapshot, rule.k, job.report_progress)
    else:
        answered = nearest_in_batches(snapshot, queries, rule.k, job.report_progress)
    confidences, right = np.empty(len(wanted)), np.empty(len(wanted), dtype=bool)
    nearest = np.empty(len(wanted))
    scores: dict[str, list[float]] = {name: [] for name in conformal.SCORES}
    for rows, neighbors in answered:
        decisions = rule.decide(neighbors)
        confidences[rows] = [decision.confidence for decision in decisions]
        right[rows] = wanted[rows] == np.array([d.label for d in decisions], dtype=object)
        nearest[rows] = neighbors.distances[:, 0]
        asked = snapshot.vectors.gather(rows) if queries is None else queries[rows]
        draws = [conformal.draw_for(vector) for vector in asked]
        for name, score in conformal.SCORES.items():
            scored = (score(d.scores, draw) for d, draw in zip(decisions, draws, strict=True))
            scores[name] += conformal.calibration_scores(scored, wanted[rows])
    return Calibration(
        result=CalibrationResult(
            k=rule.k,
            voting=rule.voting,
            temperature=rule.temperature,
            balance=rule.balance,
            count=len(wanted),
            error_before=index.calibration_error(confidences, right),
            error_after=held_out_error(confidences, right),
            rejection_distance=index.threshold(nearest),
        ),
        revision=snapshot.revision,
        created_at=time.time_ns() // 1000,
        recalibration=index.fit(confidences, right),
        scores={name: sorted(each) for name, each in scores.items()},
    )


def held_out_error(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the calibration error by 2-fold cross-validation, every second decision held out.

    Decisions are sorted by confidence first, so that the order of rows does not matter.
    """
    order = np.lexsort((right, confidences))
    halves = (order[::2], order[1::2])
    calibrated = np.empty(len(order))
    for one, other in (halves, halves[::-1]):
        calibrated[other] = index.fit(confidences[one], right[one]).apply(confidences[other])
    return index.calibration_error(calibrated, right)
