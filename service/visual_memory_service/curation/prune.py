"""Prunes take away the votes of entries that mislead; relabels set labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import compress

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory_index.curation import prune_methods
from visual_memory_index.errors import EmptyMemory, NotVoting
from visual_memory_index.records.operation import Progress
from visual_memory_index.records.steps import ascending, steps, to_json
from visual_memory_service.curation.values import leave_one_out_values
from visual_memory_service.runtime.batches import leave_one_out_in_batches
from visual_memory_service.runtime.operations import Job, Operations, repeated

JUDGED_K, JUDGED_VOTING = 50, "rank"
ROUNDS = 3  # over the entries: one chooses, two measure the accuracy before and after


@dataclass(frozen=True, slots=True)
class PruneResult:
    """Result of a prune, as PruneResult in operation.proto."""

    ids: list[str]
    labels: dict[str, int]
    accuracy_before: float
    accuracy_after: float
    applied: bool


@dataclass(frozen=True, slots=True)
class RelabelResult:
    """Result of a relabel, as RelabelResult in operation.proto."""

    ids: list[str]
    applied: bool


def prune(
    method: prune_methods.Method,
    memory: index.Memory,
    operations: Operations,
    *,
    apply: bool,
    request: index.Request,
) -> index.Operation:
    """Start a prune, or without ``apply`` its dry run, and return the operation.

    A repeated request returns the earlier operation. Raises NotVoting if an id given does not vote,
    RequestReused.
    """
    if (again := repeated(request, memory)) is not None:
        return again
    if isinstance(method, prune_methods.Ids):
        check_votes(method.ids, memory)
    work = partial(carry_out, method, apply=apply)
    return operations.start(memory, "prune" if apply else "dry-run", work, request=request)


def carry_out(method: prune_methods.Method, job: Job, *, apply: bool) -> str | None:
    """Prune the chosen entries and return None, or without ``apply`` return the result as JSON.

    Entries are chosen in a snapshot while writes go on. Unless ids were given, entries that were
    deleted, replaced, pruned or relabelled since are left out. A prune stores its result with the
    end of the operation. Raises EmptyMemory if no entry votes, Cancelled if the job is cancelled.
    """
    memory, snapshot = job.memory, job.memory.snapshot()
    if not len(snapshot):
        raise EmptyMemory("No entry of this memory votes, so there is nothing to prune.")
    ids = chosen(method, snapshot, job)
    before, after = accuracies(snapshot, ids, job)

    def result(pruned: list[str]) -> str:
        counts = Counter[str]()
        for step in steps(len(pruned)):
            counts.update(snapshot.labels_of(pruned[step]))
        labels = dict(sorted(counts.items()))
        return in_json(PruneResult(pruned, labels, before, after, apply))

    if not apply:
        return result(ids)
    memory.operations.prune(
        ids,
        operation=job.name,
        result=result,
        snapshot=None if isinstance(method, prune_methods.Ids) else snapshot,
        check=job.check,
    )
    return None


def chosen(method: prune_methods.Method, snapshot: index.RamCopy, job: Job) -> list[str]:
    """Return the ids that ``method`` chooses to prune, in byte order.

    Raises BadParameter or NotVoting if the method cannot be applied, Cancelled.
    """
    ids, labels = snapshot.columns()
    on_progress = in_round(0, len(ids), job)

    def counts(k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = job.memory.misleading_counts(k, on_progress, snapshot=snapshot)
        return found.v, found.c

    voters = prune_methods.Voters(
        ids,
        labels,
        vectors=lambda: snapshot.vectors.gather(np.arange(len(ids))),
        counts=counts,
        values=lambda k: leave_one_out_values(snapshot, k, on_progress).values,
        on_progress=on_progress,
    )
    return ascending(ids[method.rows(voters)])


def in_json(result: PruneResult | RelabelResult) -> str:
    """Return a result as JSON, in steps."""
    rest = asdict(replace(result, ids=[]))
    del rest["ids"]
    return f'{{"ids": {to_json(result.ids)}, {json.dumps(rest)[1:]}'


def check_votes(ids: Sequence[str], memory: index.Memory) -> None:
    """Raise NotVoting if an id has no entry, or one that does not vote."""
    if unknown := [*compress(ids, ~memory.votes(ids))]:
        raise NotVoting(unknown)


def accuracies(snapshot: index.RamCopy, pruned: Sequence[str], job: Job) -> tuple[float, float]:
    """Return the leave-one-out accuracy of all entries, before and after pruning ``pruned``."""
    m = len(snapshot)
    before = accuracy(snapshot, snapshot, in_round(1, m, job))
    after = accuracy(snapshot.without(pruned), snapshot, in_round(2, m, job))
    return before, after


def in_round(number: int, m: int, job: Job) -> Progress:
    """Return a callback for one of the ROUNDS over ``m`` entries that reports progress of all.

    The callback takes any total, such as that of the rounds of k-means, or 0 if none is known yet.
    """

    def on_progress(done: int, total: int) -> None:
        job.report_progress(number * m + m * done // max(1, total), ROUNDS * m)

    return on_progress


def accuracy(memory: index.RamCopy, queries: index.RamCopy, on_progress: Progress) -> float:
    """Return the share of ``queries`` classified correctly by the other entries of ``memory``."""
    _, labels = queries.columns()
    right = 0
    for rows, neighbors in leave_one_out_in_batches(memory, queries, JUDGED_K, on_progress):
        if neighbors.ids.shape[1]:
            decisions = index.decide(neighbors, index.VOTINGS[JUDGED_VOTING])
            predicted = np.array([decision.label for decision in decisions], object)
            right += int((predicted == labels[rows]).sum())
    return right / len(queries)


def relabel(
    labels: Mapping[str, str], memory: index.Memory, *, apply: bool, request: index.Request
) -> index.Operation | RelabelResult:
    """Set labels by id in one transaction, or without ``apply`` list the ids that would change.

    Returns the operation, also of a repeated request, or a result if nothing is applied. Raises
    UnknownEntries, RequestReused, FileUnavailable.
    """
    if (again := repeated(request, memory)) is not None:
        return again
    if not apply:
        return RelabelResult(ascending([*memory.operations.would_relabel(labels)]), applied=False)

    def result(changed: list[str]) -> str:
        return in_json(RelabelResult(changed, applied=True))

    return memory.operations.relabel(labels, result=result, request=request)
