"""Operations, prunes and labels to be mended, both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np

from visual_memory.protocol.oneofs import choices
from visual_memory.v1 import memory_pb2, operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Counts, Operation
from visual_memory_index.curation import prune_methods
from visual_memory_service.convert.answers import from_time
from visual_memory_service.convert.page_token import from_token, to_token
from visual_memory_service.convert.requests import (
    VALUE_K,
    check_labels,
    to_counts_k,
    to_request,
    to_text,
)
from visual_memory_service.curation.prune import Prune, Relabel, RelabelResult
from visual_memory_service.errors import BadField

COUNTS_K = 100
COUNTS_PAGE = 10_000
THRESHOLD = 128  # Geirhos et al., 2024, for 100 neighbours
BALANCE = 0.5  # Sorscher et al., 2022, for ImageNet
CLUSTERS_MAX = 10_000
TIMEOUT_MAX = 86_400
OPERATIONS_PAGE, OPERATIONS_PAGE_MAX = 100, 1000
STATES = MappingProxyType(
    {
        "running": operation_pb2.Operation.RUNNING,
        "done": operation_pb2.Operation.DONE,
        "failed": operation_pb2.Operation.FAILED,
        "cancelled": operation_pb2.Operation.CANCELLED,
    }
)


def to_counts_page(request: pb.GetMisleadingCountsRequest) -> tuple[int, str, int]:
    """The K to count with, the last id of the page before, and the size. Raises BadField."""
    if not 0 <= request.page_size <= COUNTS_PAGE:
        raise BadField("page_size", f"must be 0 to {COUNTS_PAGE}, but is {request.page_size}")
    return (
        to_counts_k(request.k if request.HasField("k") else COUNTS_K, "k"),
        to_token(request),
        request.page_size or COUNTS_PAGE,
    )


def to_prune(request: pb.PruneEntriesRequest) -> Prune:
    """Raises BadField."""
    return Prune(to_method(request), request.apply, to_request(request, request.request_id))


def to_method(request: pb.PruneEntriesRequest) -> prune_methods.Method:
    """How to choose entries. Raises BadField."""
    match request.WhichOneof("method"):
        case "hard":
            hard = request.hard
            threshold = hard.threshold if hard.HasField("threshold") else THRESHOLD
            if threshold < 1:
                raise BadField("hard.threshold", f"must be at least 1, but is {threshold}")
            k = to_counts_k(hard.k if hard.HasField("k") else COUNTS_K, "hard.k")
            return prune_methods.Hard(k, threshold, hard.minus_correct)
        case "random":
            return prune_methods.Random(
                to_fraction(request.random.fraction, "random.fraction"),
                to_seed(request.random.seed, "random.seed"),
            )
        case "prototype":
            prototype = request.prototype
            if prototype.keep not in ("", "hard", "easy"):
                raise BadField(
                    "prototype.keep", f"must be hard or easy, not {prototype.keep!r:.80}"
                )
            if not 0 <= prototype.clusters <= CLUSTERS_MAX:
                raise BadField(
                    "prototype.clusters",
                    f"must be 0 to {CLUSTERS_MAX}, but is {prototype.clusters}",
                )
            balance = prototype.balance if prototype.HasField("balance") else BALANCE
            if not 0 <= balance <= 1:
                raise BadField("prototype.balance", f"must be 0 to 1, but is {balance}")
            return prune_methods.Prototype(
                to_fraction(prototype.fraction, "prototype.fraction"),
                prototype.clusters,
                prototype.keep or "hard",
                balance,
                to_seed(prototype.seed, "prototype.seed"),
            )
        case "value":
            value = request.value
            k = to_counts_k(value.k if value.HasField("k") else VALUE_K, "value.k")
            return prune_methods.Value(to_fraction(value.fraction, "value.fraction"), k)
        case "ids":
            if not request.ids.ids:
                raise BadField("ids.ids", "must not be empty")
            for number, id in enumerate(request.ids.ids):
                to_text(id, "ids.ids[{}]", number)
            return prune_methods.Ids(list(request.ids.ids))
        case _:
            raise BadField("method", f"must be given: {choices(pb.PruneEntriesRequest, 'method')}")


def to_seed(seed: int, path: str) -> int:
    """Raises BadField."""
    if seed < 0:
        raise BadField(path, f"must not be negative, but is {seed}")
    return seed


def to_fraction(fraction: float, path: str) -> float:
    """Raises BadField."""
    if not 0 < fraction < 1:
        raise BadField(path, f"must be between 0 and 1, both excluded, but is {fraction}")
    return fraction


def to_relabel(request: pb.RelabelEntriesRequest) -> Relabel:
    """Raises BadField."""
    if not request.labels:
        raise BadField("labels", "must not be empty")
    check_labels(request.labels, "labels")
    return Relabel(dict(request.labels), request.apply, to_request(request, request.request_id))


def to_operations_page(request: pb.ListOperationsRequest) -> tuple[str, int]:
    """The last name of the page before, and the size. Raises BadField."""
    size = request.page_size
    if not 0 <= size <= OPERATIONS_PAGE_MAX:
        raise BadField("page_size", f"must be 0 to {OPERATIONS_PAGE_MAX}, but is {size}")
    return to_token(request), size or OPERATIONS_PAGE


def to_seconds(request: pb.WaitOperationRequest) -> float | None:
    """How long to wait, None for as long as the call may take. Raises BadField."""
    if not request.HasField("timeout"):
        return None
    if not 0 <= request.timeout.seconds <= TIMEOUT_MAX or request.timeout.nanos < 0:
        raise BadField("timeout", f"must be 0 to {TIMEOUT_MAX} s")
    return request.timeout.seconds + request.timeout.nanos / 1e9


def from_operation(
    operation: Operation,
    *,
    done: int = 0,
    total: int = 0,
    problem: str = "",
    with_result: bool = True,
) -> operation_pb2.Operation:
    """An operation as it stands; where it runs ``done`` of ``total``, and what it waits for."""
    message = operation_pb2.Operation(
        name=operation.name,
        memory=operation.name.rpartition("/")[0],
        kind=operation.kind,
        state=STATES[operation.state],
        done_count=done,
        total_count=total,
        problem=operation.problem or problem,
        create_time=from_time(operation.created_at),
    )
    if operation.ended_at is not None:
        message.end_time.CopyFrom(from_time(operation.ended_at))
    if operation.undone_at is not None:
        message.undo_time.CopyFrom(from_time(operation.undone_at))
    if with_result and operation.result is not None and operation.state == "done":
        result = json.loads(operation.result)
        match operation.kind:
            case "relabel":
                message.relabel.CopyFrom(operation_pb2.RelabelResult(**result))
            case "assess":
                message.assessment.CopyFrom(from_assessment(result))
            case "check":
                message.check.CopyFrom(operation_pb2.CheckResult(**result))
            case "calibrate":
                message.calibration.CopyFrom(operation_pb2.Calibration(**result))
            case "unlearn":
                message.unlearn.CopyFrom(from_unlearning(result))
            case _:
                labels = from_label_counts(result.pop("labels"))
                message.prune.CopyFrom(operation_pb2.PruneResult(labels=labels, **result))
    return message


def from_unlearning(result: dict[str, Any]) -> operation_pb2.UnlearnResult:
    """What came of an unlearning, but for its certificate."""
    del result["certificate"]
    times = [from_time(each) for each in result.pop("backups", ())]
    return operation_pb2.UnlearnResult(backup_times=times, **result)


def from_label_counts(counts: Mapping[str, int]) -> list[memory_pb2.LabelCount]:
    """In the order given."""
    return [memory_pb2.LabelCount(label=label, count=count) for label, count in counts.items()]


def from_assessment(result: Mapping[str, Any]) -> operation_pb2.Assessment:
    """An assessment as its operation keeps it."""
    thin = set(result["thin"])
    return operation_pb2.Assessment(
        count=result["count"],
        accuracy=result["accuracy"],
        calibration_error=result["calibration_error"],
        labels=[
            operation_pb2.LabelAssessment(
                called=from_label_counts(result["confusion"][each["label"]]),
                thin=each["label"] in thin,
                **each,
            )
            for each in result["labels"]
        ],
        suspects=[operation_pb2.Suspect(**each) for each in result["suspects"]],
        conflicts=[
            operation_pb2.Conflict(
                id=each["ids"][0],
                other_id=each["ids"][1],
                label=each["labels"][0],
                other_label=each["labels"][1],
                distance=each["distance"],
            )
            for each in result["conflicts"]
        ],
    )


def from_operations(
    operations: Sequence[Operation], last: str, request: pb.ListOperationsRequest
) -> pb.ListOperationsResponse:
    """One page without results; ``last`` is the name to go on after, empty at the end."""
    return pb.ListOperationsResponse(
        operations=[from_operation(operation, with_result=False) for operation in operations],
        next_page_token=from_token(last, request),
    )


def from_relabel_result(memory: str, result: RelabelResult) -> operation_pb2.Operation:
    """What a relabel would do: an operation that was never needed."""
    return operation_pb2.Operation(
        memory=memory,
        kind="dry-run",
        state=operation_pb2.Operation.DONE,
        relabel=operation_pb2.RelabelResult(**asdict(result)),
    )


def from_counts(
    counts: Counts, after: str, size: int, request: pb.GetMisleadingCountsRequest
) -> pb.GetMisleadingCountsResponse:
    """Up to ``size`` counts of the ids beyond ``after``, by id."""
    order = counts.ids.argsort()
    first = int(np.searchsorted(counts.ids[order], after, side="right")) if after else 0
    page = order[first : first + size]
    columns = (counts.ids[page], counts.v[page].tolist(), counts.c[page].tolist())
    rows = [pb.MisleadingCount(id=id, v=v, c=c) for id, v, c in zip(*columns, strict=True)]
    last = rows[-1].id if first + size < len(order) else ""
    return pb.GetMisleadingCountsResponse(counts=rows, next_page_token=from_token(last, request))


def from_undone(ids: Sequence[str]) -> pb.UndoResponse:
    """How many have their vote or label back."""
    return pb.UndoResponse(restored_count=len(ids))
