"""Operations, both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from visual_memory.v1 import memory_pb2, operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Memory, Operation, Rule
from visual_memory_service.convert.answers import from_rule, from_time
from visual_memory_service.convert.page_token import from_token
from visual_memory_service.errors import BadField

TIMEOUT_MAX = 86_400
SUSPECT_FIELDS = ("id", "label", "proposed", "score", "reason")


def to_timeout(request: pb.WaitOperationRequest) -> float | None:
    """Read the seconds to wait, or None for no limit. Raises BadField."""
    if not request.HasField("timeout"):
        return None
    if not 0 <= request.timeout.seconds <= TIMEOUT_MAX or request.timeout.nanos < 0:
        raise BadField("timeout", f"must be 0 to {TIMEOUT_MAX} s")
    return request.timeout.seconds + request.timeout.nanos / 1e9


def from_operation(
    operation: Operation, progress: tuple[int, int], problem: str, *, with_result: bool
) -> operation_pb2.Operation:
    """Convert an operation to a message, with its last reported ``progress`` (done, total).

    An operation that is done has done all. ``problem`` is what a running operation waits for. The
    result of an operation that is done is included if ``with_result`` is True.
    """
    done, total = progress
    ended, undone = operation.ended_at, operation.undone_at
    message = operation_pb2.Operation(
        name=operation.name,
        memory=operation.name.rpartition("/")[0],
        kind=operation.kind,
        state=operation_pb2.Operation.State.Value(operation.state.upper()),
        done_count=total if operation.state == "done" else done,
        total_count=total,
        problem=operation.problem or problem,
        create_time=from_time(operation.created_at),
        end_time=None if ended is None else from_time(ended),
        undo_time=None if undone is None else from_time(undone),
    )
    if with_result and operation.result is not None and operation.state == "done":
        result = json.loads(operation.result)
        match operation.kind:
            case "relabel":
                message.relabel.CopyFrom(operation_pb2.RelabelResult(**result))
            case "assess":
                message.assessment.CopyFrom(from_assessment(result))
            case "check":
                message.check.CopyFrom(operation_pb2.CheckResult(**result))
            case "reembed":
                message.reembed.CopyFrom(operation_pb2.ReembedResult(**result))
            case "calibrate":
                if "rule" in result:  # in what an earlier version stored there is none
                    result |= Rule(**result.pop("rule")).parameters()
                message.calibration.CopyFrom(operation_pb2.Calibration(**result))
            case "tune" | "tune-dry-run":
                message.tune.CopyFrom(from_tuned(result))
            case "unlearn":
                message.unlearn.CopyFrom(from_unlearning(result))
            case _:
                labels = from_label_counts(result.pop("labels"))
                message.prune.CopyFrom(operation_pb2.PruneResult(labels=labels, **result))
    return message


def from_dry_run(memory: str, kind: str, **result: Any) -> operation_pb2.Operation:
    """Build the message of a finished dry run, an operation that was never stored.

    ``result`` is one field with its result, such as ``relabel=…``.
    """
    state = operation_pb2.Operation.DONE
    return operation_pb2.Operation(memory=memory, kind=kind, state=state, **result)


def from_tuned(result: Mapping[str, Any]) -> operation_pb2.TuneResult:
    """Build the message of the result of a tuning from its stored JSON."""
    rules = [
        operation_pb2.MeasuredRule(
            rule=from_rule(Rule(**each["rule"])),
            **{name: operation_pb2.Estimate(**each[name]) for name in each if name != "rule"},
        )
        for each in result["rules"]
    ]
    return operation_pb2.TuneResult(**{**result, "rules": rules})


def from_unlearning(result: dict[str, Any]) -> operation_pb2.UnlearnResult:
    """Build the message of the result of an unlearning without its certificate."""
    del result["certificate"]
    times = [from_time(each) for each in result.pop("backups", ())]
    return operation_pb2.UnlearnResult(backup_times=times, **result)


def from_label_counts(counts: Mapping[str, int]) -> list[memory_pb2.LabelCount]:
    """Convert counts by label to messages, in the order given."""
    return [memory_pb2.LabelCount(label=label, count=count) for label, count in counts.items()]


def from_assessment(result: Mapping[str, Any]) -> operation_pb2.Assessment:
    """Build the message of an assessment from its stored JSON."""
    thin = set(result["thin"])
    return operation_pb2.Assessment(
        count=result["count"],
        accuracy=result["accuracy"],
        macro_accuracy=fmean(each["accuracy"] for each in result["labels"]),
        calibration_error=result["calibration_error"],
        labels=[
            operation_pb2.LabelAssessment(
                called=from_label_counts(result["confusion"][each["label"]]),
                thin=each["label"] in thin,
                **each,
            )
            for each in result["labels"]
        ],
        suspects=[
            operation_pb2.Suspect(**{name: each[name] for name in SUSPECT_FIELDS})
            for each in result["suspects"]
        ],
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
    operations: Sequence[operation_pb2.Operation],
    last: str,
    request: pb.ListOperationsRequest,
    memory: Memory,
) -> pb.ListOperationsResponse:
    """Build the answer of a page of operations; ``last`` names the last if more follow."""
    return pb.ListOperationsResponse(
        operations=operations,
        next_page_token=from_token(last, request, memory),
    )
