"""Calibration of a memory: confidences, scores for label sets, and a rejection distance."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory.terminal.arguments import flags
from visual_memory_index.records.neighbors import HeadScores
from visual_memory_index.votes import conformal
from visual_memory_index.votes.coverage import distance_from_memory
from visual_memory_index.votes.shares import shares
from visual_memory_service.decisions.groups import check_key, entries_by, ungrouped_count
from visual_memory_service.decisions.held_out import ask, leave_groups_out, leave_one_out
from visual_memory_service.errors import BadField, NotCalibrated
from visual_memory_service.runtime.operations import Job
from visual_memory_service.runtime.served_memory import ServedMemory

SETTING = "calibration"
FORMAT = 6  # of the text that is stored; 3 to 5 counted the pictures of a scene


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """Result of a calibration that is kept, as Calibration in operation.proto."""

    rule: index.Rule
    count: int
    error_before: float
    error_after: float
    rejection_distance: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration fitted to decisions at a memory's ``revision``, at the time ``created_at``.

    That is in microseconds since 1970, and later than those of the memory's former calibrations.
    One of each of the ``group_count`` groups of queries, or each where they have none, counts for
    the rejection distance and for the ``scores_over_all`` of each conformal rule; one of each label
    of a group counts for the ``scores`` of each label by each rule. Scores ascend.
    """

    result: CalibrationResult
    revision: int
    created_at: int
    group_count: int
    recalibration: index.Recalibration
    scores_over_all: dict[str, list[float]]
    scores: dict[str, dict[str, list[float]]]

    def to_json(self) -> str:
        """Return the calibration as the JSON text that a memory stores."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Calibration | None:
        """Parse a calibration from the text that ``to_json`` returned; None if it is of before."""
        fields: dict[str, Any] = json.loads(text)
        if fields.pop("format", 1) != FORMAT:
            return None
        curve, result = fields.pop("recalibration"), fields.pop("result")
        return cls(
            result=CalibrationResult(index.Rule(**result.pop("rule")), **result),
            recalibration=index.Recalibration(
                tuple(curve["confidences"]), tuple(curve["accuracies"])
            ),
            **fields,
        )

    @property
    def rule(self) -> index.Rule:
        """Return the rule of the decisions that this calibration is for."""
        return self.result.rule

    def check(self, memory: str, rule: index.Rule) -> None:
        """Raise NotCalibrated if this calibration of ``memory`` is for another rule."""
        if rule != self.rule:
            fitted = flags(self.rule.parameters())
            raise NotCalibrated(memory, f"is calibrated for {fitted}", flags(rule.parameters()))

    def confidences(self, decisions: Sequence[index.Decision]) -> list[float]:
        """Return calibrated confidences in [0, 1]: how likely each decision is right."""
        found = np.array([decision.confidence for decision in decisions])
        return [*map(float, self.recalibration.apply(found))]

    def limits(self, rule: str, coverage: float, coverage_by: str) -> conformal.Limits:
        """Return the limits of label sets by a conformal ``rule``. Raises BadParameter."""
        of_labels = {label: np.array(each) for label, each in self.scores[rule].items()}
        calibration = conformal.Calibration(np.array(self.scores_over_all[rule]), of_labels)
        return conformal.LIMITS[coverage_by](calibration, coverage)


def calibration_of(served: ServedMemory) -> Calibration | None:
    """Return the stored calibration of a memory, or None."""
    return served.setting(SETTING, Calibration.from_json)


def check_calibration(
    queries: int | None, labels: Sequence[str], group_by: str, memory: index.Memory
) -> None:
    """Check that a memory can be calibrated by so many ``queries``, before an operation is made.

    Raises TooFewItems, OneLabel, and BadField for a key or labels that no voting entry has.
    """
    counts = memory.label_counts()
    if queries is None:
        check_key(group_by, memory)
    elif group_by:
        raise BadField("group_by", "groups entries, which are not asked where queries are given")
    elif counts and labels and not any(label in counts for label in labels):
        raise BadField(
            "labels", f"must be labels of the memory, but none is, such as {labels[0][:80]!r}"
        )
    index.check_calibratable(counts, queries)


def calibrate_memory(
    job: Job,
    rule: index.Rule,
    *,
    queries: NDArray[np.float32] | None,
    labels: Sequence[str],
    group_by: str,
) -> None:
    """Calibrate the job's memory; store calibration and end of operation in one transaction.

    Entries with equal values of the metadata key ``group_by``, if it is not empty, are not asked of
    each other.
    """
    snapshot, group_of = entries_by(group_by, job.memory)
    found = calibrate(snapshot, rule, job, queries=queries, labels=labels, group_of=group_of)
    before = job.memory.setting(SETTING)
    if before and (former := Calibration.from_json(before)):  # clocks may go back
        found = replace(found, created_at=max(found.created_at, former.created_at + 1))
    told = asdict(found.result) | {
        "ungrouped_count": ungrouped_count(snapshot, group_of),
        "label_count": len(snapshot.label_counts),
        "asked_label_count": len(next(iter(found.scores.values()))),
    }
    job.memory.operations.end(
        job.name,
        "done",
        result=json.dumps(told),
        settings=lambda transaction: {SETTING: found.to_json()},
        call="CalibrateMemory",
    )


def calibrate(
    snapshot: index.RamCopy,
    rule: index.Rule,
    job: Job,
    *,
    queries: NDArray[np.float32] | None = None,
    labels: Sequence[str] = (),
    group_of: Mapping[str, str] | None = None,
) -> Calibration:
    """Fit a calibration to labelled unit ``queries`` (n, d), or without any to the entries.

    Each entry is asked of the others, or with ``group_of``, which maps ids to groups, of some that
    are not of its own. Raises TooFewItems, OneLabel, HeadTooLarge, RidgeTooSmall, Cancelled.
    """
    wanted = snapshot.columns()[1] if queries is None else np.array(labels, dtype=object)
    index.check_calibratable(snapshot.label_counts, None if queries is None else len(queries))
    if queries is not None:
        answers = ask(snapshot, rule, queries, job)
    elif group_of is not None:
        answers = leave_groups_out(snapshot, rule, group_of, job)
    else:
        answers = leave_one_out(snapshot, rule, job)
    confidences, right = np.empty(len(wanted)), np.empty(len(wanted), dtype=bool)
    distances, groups = np.empty(len(wanted)), np.empty(len(wanted), dtype=np.intp)
    asked, drawn, drawn_by_label = np.zeros((3, len(wanted)), dtype=bool)
    draws = np.empty(len(wanted))
    scores = {name: np.empty(len(wanted)) for name in conformal.SCORES}
    for each in answers:
        rows, own = each.rows, wanted[each.rows].tolist()
        asked[rows], groups[rows], drawn[rows] = True, each.groups, each.drawn
        drawn_by_label[rows] = each.drawn_by_label
        decisions = rule.decide(each.neighbors)
        confidences[rows] = [decision.confidence for decision in decisions]
        right[rows] = wanted[rows] == np.array([d.label for d in decisions], dtype=object)
        distances[rows] = distance_from_memory(each.neighbors.distances[:, 0], each.means.distances)
        head_shares = own_shares(each.means, own)
        draws[rows] = [conformal.draw_for(vector) for vector in each.vectors]
        drawings = draws[rows].tolist()
        for name, score in conformal.SCORES.items():
            scored = (score(d.scores, draw) for d, draw in zip(decisions, drawings, strict=True))
            scores[name][rows] = list(map(conformal.own_score, scored, own, head_shares))
    if group_of is None:  # else it would depend on the order of equal vectors which half has which
        groups = np.unique(draws, return_inverse=True)[1]
    confidences, right = confidences[asked], right[asked]
    return Calibration(
        result=CalibrationResult(
            rule=rule,
            count=len(confidences),
            error_before=index.calibration_error(confidences, right),
            error_after=held_out_error(confidences, right, groups[asked], draws[asked]),
            rejection_distance=index.threshold(distances[drawn]),
        ),
        revision=snapshot.revision,
        created_at=time.time_ns() // 1000,
        group_count=int(drawn.sum()),
        recalibration=index.fit(confidences, right),
        scores_over_all={name: sorted(each[drawn].tolist()) for name, each in scores.items()},
        scores={
            name: grouped(each[drawn_by_label], wanted[drawn_by_label])
            for name, each in scores.items()
        },
    )


def own_shares(found: HeadScores, labels: Sequence[str]) -> list[float]:
    """Return the share by class means of each item's own label, 0 if they lack it."""
    place = {label: at for at, label in enumerate(found.labels)}
    by_means = shares(found.scores, index.Rule().head_temperature)
    return [
        float(row[place[label]]) if label in place else 0.0
        for row, label in zip(by_means, labels, strict=True)
    ]


def grouped(scores: NDArray[np.float64], labels: NDArray[np.object_]) -> dict[str, list[float]]:
    """Return the ``scores`` (n,) of each of the ``labels`` (n,), ascending."""
    pairs = sorted(zip(labels.tolist(), scores.tolist(), strict=True))
    return {
        label: [score for _, score in group] for label, group in groupby(pairs, key=itemgetter(0))
    }


def held_out_error(
    confidences: NDArray[np.float64],
    right: NDArray[np.bool_],
    groups: NDArray[np.intp],
    draws: NDArray[np.float64],
) -> float:
    """Return the mean calibration error of 2-fold cross-validation: each half by the other's curve.

    ``groups`` (n,) are numbers of the groups of the decisions, of which none is in both halves: the
    curve fitted to one picture of a scene knows the others. Groups are sorted by the mean rank of
    their decisions by confidence, equal ones as ``draws`` (n,) are, so that the order of rows does
    not matter; each joins the half that has fewer decisions until then. By what is ``right``, equal
    ones would be dealt out evenly, and each half would know how many the other has.
    """
    ranks = np.empty(len(groups))
    ranks[np.lexsort((groups, draws, confidences))] = np.arange(len(groups))
    _, of_group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    is_second, lead = np.empty(len(sizes), dtype=bool), 0
    for group in np.argsort(np.bincount(of_group, ranks) / sizes, kind="stable").tolist():
        is_second[group] = lead > 0
        lead += -sizes[group] if is_second[group] else sizes[group]
    halves = is_second[of_group], ~is_second[of_group]
    errors = 0.0
    for one, other in (halves, halves[::-1]):  # together, too high and too low would make it up
        if not other.any():  # there is one group
            continue
        calibrated = index.fit(confidences[one], right[one]).apply(confidences[other])
        errors += int(other.sum()) * index.calibration_error(calibrated, right[other])
    return errors / len(groups)
