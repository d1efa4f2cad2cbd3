"""Assessment of a memory: leave-one-out accuracy, and the labels that look wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory_index.curation import assessment
from visual_memory_index.curation.judgement import LabelJudgement, judge
from visual_memory_index.errors import EmptyMemory
from visual_memory_service.runtime.batches import leave_one_out_in_batches
from visual_memory_service.runtime.operations import Job

SUSPECTS_K = 20  # measured against wrong labels put in: farther ones add more doubt than evidence


@dataclass(frozen=True, slots=True)
class Assessment:
    """Result of an assessment, as Assessment in operation.proto."""

    count: int
    accuracy: float
    calibration_error: float
    labels: list[assessment.LabelAccuracy]
    confusion: Mapping[str, Mapping[str, int]]
    thin: list[str]
    suspects: list[LabelJudgement]
    conflicts: list[assessment.Conflict]


def assess(snapshot: index.RamCopy, rule: index.Rule, thin: int, job: Job) -> Assessment:
    """Assess every voting entry by the decision of the others.

    Entries of labels with fewer than ``thin`` entries vote, but are never suspects. Raises
    EmptyMemory if fewer than two entries vote, HeadTooLarge, RidgeTooSmall, Cancelled if the job is
    cancelled.
    """
    check_judged(snapshot)
    predicted, confidences = np.empty(len(snapshot), dtype=object), np.empty(len(snapshot))
    head = snapshot.own_head(rule.fitted_ridge) if rule.has_head else None
    labels = snapshot.columns()[1]

    def decide(rows: NDArray[np.intp], near: index.Neighbors) -> None:
        if head is not None:
            vectors = snapshot.vectors.gather(rows)
            scores = head.compare_without(vectors, labels[rows].tolist(), vectors)
            near = replace(near, head=scores)
        decisions = rule.decide(near)
        predicted[rows] = [decision.label for decision in decisions]
        confidences[rows] = [decision.confidence for decision in decisions]

    judged = leave_one_out(snapshot, rule, job, decide)
    right = predicted == judged.labels
    return Assessment(
        count=len(snapshot),
        accuracy=float(right.mean()),
        calibration_error=index.calibration_error(confidences, right),
        labels=assessment.label_accuracies(judged.labels, predicted),
        confusion=assessment.confusion(judged.labels, predicted),
        thin=list(assessment.thin_labels(judged.labels, trusted_min=thin)),
        suspects=[each for each in judge_by(judged, snapshot, thin, job) if each.suspect],
        conflicts=assessment.conflicts(judged),
    )


def check_judged(snapshot: index.RamCopy) -> None:
    """Raise EmptyMemory if fewer than two entries vote."""
    if len(snapshot) < 2:
        raise EmptyMemory("At least two voting entries are needed to judge each other.")


def judge_labels(
    snapshot: index.RamCopy, rule: index.Rule, thin: int, job: Job
) -> list[LabelJudgement]:
    """Judge the label of every voting entry, as ``assess`` does, the most suspicious first.

    Raises EmptyMemory if fewer than two entries vote, Cancelled if the job is cancelled.
    """
    check_judged(snapshot)
    near = replace(rule, k=min(rule.k, SUSPECTS_K))
    judged = leave_one_out(snapshot, near, job)
    return judge_by(judged, snapshot, thin, job)


def judge_by(
    judged: assessment.LeaveOneOut, snapshot: index.RamCopy, thin: int, job: Job
) -> list[LabelJudgement]:
    """Judge the labels of the entries of ``snapshot``, whose neighbours ``judged`` holds.

    Raises Cancelled if the job is cancelled.
    """

    def vectors_of(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        job.check()
        return snapshot.vectors.gather(rows)

    return judge(nearest(judged, SUSPECTS_K), vectors_of, trusted_min=thin)


def nearest(judged: assessment.LeaveOneOut, k: int) -> assessment.LeaveOneOut:
    """Return ``judged`` cut to the first ``k`` neighbours of each entry, which are the nearest."""
    return replace(
        judged,
        neighbors=judged.neighbors[:, :k],
        distances=judged.distances[:, :k],
        weights=judged.weights[:, :k],
    )


def leave_one_out(
    snapshot: index.RamCopy,
    rule: index.Rule,
    job: Job,
    decide: Callable[[NDArray[np.intp], index.Neighbors], None] = lambda rows, near: None,
) -> assessment.LeaveOneOut:
    """Find the nearest neighbours of every voting entry, itself excluded, with their weights.

    ``decide`` is called with rows of entries and their neighbours, batch by batch. Raises
    Cancelled if the job is cancelled.
    """
    ids, labels = snapshot.columns()
    row_of = {id: row for row, id in enumerate(ids)}
    k = min(rule.k, len(ids) - 1)
    neighbors = np.empty((len(ids), k), dtype=np.int32)
    distances, weights = np.empty((len(ids), k)), np.empty((len(ids), k))
    for rows, found in leave_one_out_in_batches(snapshot, snapshot, k, job.report_progress):
        neighbors[rows] = [[row_of[id] for id in near] for near in found.ids]
        distances[rows], weights[rows] = found.distances, rule.weights(found)
        decide(rows, found)
    return assessment.LeaveOneOut(ids, labels, neighbors, distances, weights)
