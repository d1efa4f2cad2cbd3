"""Which entries mislead, taking their votes, mending their labels, and taking that back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import (
    VOTINGS,
    EmptyMemory,
    Memory,
    NotVoting,
    Operation,
    RamCopy,
    Request,
    winners,
)
from visual_memory_index.curation import prune_methods
from visual_memory_service.curation import values
from visual_memory_service.runtime import batches as asking
from visual_memory_service.runtime.memories import OpenMemory
from visual_memory_service.runtime.operations import Job, Operations, check_done
from visual_memory_service.runtime.threads import in_thread

JUDGED_K, JUDGED_VOTING = 50, "rank"


@dataclass(frozen=True, slots=True)
class Prune:
    """How to choose the entries that lose their vote, and whether to take it."""

    method: prune_methods.Method
    apply: bool
    request: Request | None


@dataclass(frozen=True, slots=True)
class Relabel:
    """The label of each id, and whether to set it."""

    labels: Mapping[str, str]
    apply: bool
    request: Request | None


@dataclass(frozen=True, slots=True)
class PruneResult:
    """See PruneResult in operation.proto."""

    ids: list[str]
    labels: dict[str, int]
    accuracy_before: float
    accuracy_after: float
    applied: bool


@dataclass(frozen=True, slots=True)
class RelabelResult:
    """See RelabelResult in operation.proto."""

    ids: list[str]
    applied: bool


def prune(prune: Prune, memory: OpenMemory, operations: Operations) -> Operation:
    """Start a prune, or a look at what it would do. Raises NotVoting, RequestReused."""
    if (again := answered(prune.request, memory.memory)) is not None:
        return again
    if isinstance(prune.method, prune_methods.Ids):
        check_votes(prune.method.ids, memory.memory)
    kind = "prune" if prune.apply else "dry-run"
    return operations.start(
        memory.memory,
        kind,
        lambda job: carry_out(prune, memory.memory, job),
        request=prune.request,
    )


def answered(request: Request | None, memory: Memory) -> Operation | None:
    """The operation that a repeated request began the first time. Raises RequestReused."""
    names = memory.recall(request)
    return memory.operation(names[0]) if names else None


def carry_out(prune: Prune, memory: Memory, job: Job) -> str | None:
    """The result of a prune, or None where it was applied with its result, in one transaction.

    It is chosen among the entries as they were at one moment, so others may be written all the
    time; what was deleted, replaced, pruned or relabelled since is left out, unless ids were given.
    """
    snapshot = memory.snapshot()
    if not len(snapshot):
        raise EmptyMemory("No entry of this memory votes, so there is nothing to prune.")
    ids = chosen(prune.method, memory, snapshot, job)
    before, after = accuracies(snapshot, ids, job)

    def result(pruned: list[str]) -> str:
        labels = labels_of(snapshot, pruned)
        return json.dumps(asdict(PruneResult(pruned, labels, before, after, prune.apply)))

    if not prune.apply:
        return result(ids)
    memory.prune(
        ids,
        operation=job.name,
        result=result,
        snapshot=None if isinstance(prune.method, prune_methods.Ids) else snapshot,
        check=job.check,
    )
    return None


def chosen(method: prune_methods.Method, memory: Memory, snapshot: RamCopy, job: Job) -> list[str]:
    """The ids that a method takes, in byte order. Raises BadParameter, NotVoting, Cancelled."""
    ids, labels = snapshot.columns()

    def counts(k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = memory.misleading_counts(k, job.told, snapshot=snapshot)
        return found.v, found.c

    voters = prune_methods.Voters(
        ids,
        labels,
        vectors=lambda: snapshot.vectors.gather(np.arange(len(ids))),
        counts=counts,
        values=lambda k: values.leave_one_out(snapshot, k, job).values,
        told=job.told,
    )
    return sorted(ids[method.rows(voters)].tolist())


def check_votes(ids: Sequence[str], memory: Memory) -> None:
    """Raises NotVoting."""
    unknown = [id for id in ids if not memory.votes(id)]
    if unknown:
        raise NotVoting(unknown)


def labels_of(snapshot: RamCopy, ids: Sequence[str]) -> dict[str, int]:
    """How many of each label, labels ascending."""
    return dict(sorted(Counter(snapshot.label(id) for id in ids).items()))


def accuracies(snapshot: RamCopy, pruned: Sequence[str], job: Job) -> tuple[float, float]:
    """The share of all entries that the others decide rightly, and that those left over do."""
    m = len(snapshot)
    before = accuracy(snapshot, snapshot, lambda done, _: job.told(done, 2 * m))
    after = accuracy(snapshot.without(pruned), snapshot, lambda done, _: job.told(m + done, 2 * m))
    return before, after


def accuracy(memory: RamCopy, queries: RamCopy, told: Callable[[int, int], None]) -> float:
    """The share of ``queries`` that ``memory`` decides rightly, each leaving itself out."""
    _, labels = queries.columns()
    codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    of_row = np.array([codes[label] for label in labels], dtype=np.int32)
    right = 0
    for rows, neighbors in asking.leave_one_out(memory, queries, JUDGED_K, told):
        if neighbors.ids.shape[1]:
            found = [[codes[label] for label in row] for row in neighbors.labels]
            weights = VOTINGS[JUDGED_VOTING](neighbors.distances)
            winning, _ = winners(np.array(found, dtype=np.int32), weights, len(codes))
            right += int((winning == of_row[rows]).sum())
    return right / len(queries)


def relabel(relabel: Relabel, memory: OpenMemory) -> Operation | RelabelResult:
    """Set labels in one transaction, or say which would change.

    Raises UnknownEntries, RequestReused, NotWritten.
    """
    if (again := answered(relabel.request, memory.memory)) is not None:
        return again
    if not relabel.apply:
        return RelabelResult(sorted(memory.memory.would_relabel(relabel.labels)), applied=False)

    def result(changed: list[str]) -> str:
        return json.dumps(asdict(RelabelResult(changed, applied=True)))

    return memory.memory.relabel(relabel.labels, result=result, request=relabel.request)


def find_counts(k: int, memory: OpenMemory, operations: Operations) -> Operation | None:
    """The operation that finds the neighbour lists to count in, or None where they are known."""
    kind = f"counts k={k}"
    running = operations.running(memory.memory.identity.name, kind)
    if running is not None or memory.memory.knows_counts(k):
        return running

    def work(job: Job) -> None:
        memory.memory.misleading_counts(k, job.told)

    return operations.start(memory.memory, kind, work)


async def await_counts(k: int, memory: OpenMemory, operations: Operations) -> None:
    """Return once the neighbour lists to count in are known. Raises NotDone."""
    operation = await in_thread(find_counts, k, memory, operations)
    if operation is None:
        return
    async for _ in operations.progress(operation.name):
        pass
    await in_thread(check_done, memory.memory, operation.name)
