"""Conversion of the server's messages to the types of the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from visual_memory import types
from visual_memory.v1 import decision_pb2, entry_pb2, memory_pb2, operation_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
PARAMETERS = ("temperature", "ridge", "head_temperature", "blend")  # absent if they do not count


def to_record(kind: Callable[..., T], message: Message, **others: Any) -> T:
    """Make a dataclass ``kind`` of ``others`` and, for its other fields, the message's."""
    names = [each.name for each in fields(kind) if each.name not in others]  # type: ignore[arg-type]  # a dataclass
    return kind(**{name: plain(getattr(message, name)) for name in names}, **others)


def plain(value: Any) -> Any:
    """Convert a Timestamp to datetime and a repeated field to a list; return other values as is."""
    if isinstance(value, Timestamp):
        return to_time(value)
    return list(value) if isinstance(value, MutableSequence) else value


def to_time(time: Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=UTC)


def given(message: Any, name: str, read: Callable[[Any], T]) -> T | None:
    """Convert the field ``name`` of a message with ``read``, or return None if it is not set."""
    return read(getattr(message, name)) if message.HasField(name) else None


def to_page(field: str, read: Callable[[Any], T], answer: Any) -> tuple[list[T], str]:
    """Return the items of a page and the token of the next page, empty after the last.

    The items are in ``field`` of the answer; ``read`` converts each.
    """
    return [read(each) for each in getattr(answer, field)], answer.next_page_token


def to_counts(labels: Iterable[memory_pb2.LabelCount]) -> dict[str, int]:
    return {each.label: each.count for each in labels}


def to_server_info(answer: pb.GetServerInfoResponse) -> types.ServerInfo:
    return to_record(types.ServerInfo, answer, limits=to_record(types.Limits, answer.limits))


def to_memory(memory: memory_pb2.Memory) -> types.MemoryInfo:
    return to_record(
        types.MemoryInfo,
        memory,
        embedder=given(memory, "embedder", partial(to_record, types.EmbedderSpec)),
        labels=to_counts(memory.labels),
        calibration=given(memory, "calibration", to_calibration_state),
        default_rule=given(memory, "default_rule", to_default_rule),
        drift=given(memory, "drift", partial(to_record, types.DriftState)),
        pruned_labels={
            label.label: label.pruned_count for label in memory.labels if label.pruned_count
        },
        reranker=memory.reranker or None,
        damage=memory.damage or None,
    )


def to_rule(message: Message) -> types.Rule:
    """Read the fields of a rule, None where they make no difference."""
    return to_record(
        types.Rule, message, **{name: given(message, name, float) for name in PARAMETERS}
    )


def to_calibration_state(found: memory_pb2.CalibrationState) -> types.CalibrationState:
    return to_record(types.CalibrationState, found, rule=to_rule(found))


def to_calibration(found: operation_pb2.Calibration, operation: str) -> types.Calibration:
    ungrouped = given(found, "ungrouped_count", int)
    return to_record(
        types.Calibration,
        found,
        rule=to_rule(found),
        ungrouped_count=ungrouped,
        operation=operation,
    )


def to_default_rule(found: memory_pb2.DefaultRule) -> types.DefaultRule:
    return to_record(types.DefaultRule, found, rule=to_rule(found.rule))


def to_restored(answer: pb.RestoreMemoryResponse) -> types.RestoreResult:
    return types.RestoreResult(to_memory(answer.memory), answer.left_out_count)


def to_entry(entry: entry_pb2.Entry) -> types.Entry:
    return types.Entry(
        id=entry.id,
        label=entry.label,
        metadata=dict(sorted(entry.metadata.items())),
        create_time=to_time(entry.create_time),
        content_sha256=entry.content_sha256.hex(),
        pruned_by=entry.pruned_by,
        vector=to_array(entry.vector) if entry.vector else None,
        image=entry.image or None,
        thumbnail=entry.thumbnail or None,
    )


def to_decision(decision: decision_pb2.Decision, stale: bool = False) -> types.Decision:
    return types.Decision(
        label=decision.label,
        confidence=decision.confidence,
        scores={score.label: score.score for score in decision.scores},
        neighbors=to_neighbors(decision.neighbors),
        calibrated_confidence=given(decision, "calibrated_confidence", float),
        rejected=decision.rejected,
        label_set=given(decision, "label_set", lambda found: list(found.labels)),
        node=given(decision, "node", partial(to_record, types.Node)),
        calibration_stale=stale,
        reranking=given(decision, "reranking", partial(to_record, types.Reranking)),
    )


def to_neighbors(neighbors: Sequence[decision_pb2.Neighbor]) -> types.Neighbors:
    import numpy as np

    return types.Neighbors(
        ids=[each.id for each in neighbors],
        labels=[each.label for each in neighbors],
        distances=np.array([each.distance for each in neighbors], np.float64),
        weights=np.array([each.weight for each in neighbors], np.float64),
    )


def to_vectors(vectors: entry_pb2.Vectors) -> NDArray[np.float32]:
    return to_array(vectors.data).reshape(vectors.rows, -1)


def to_array(data: bytes) -> NDArray[np.float32]:
    import numpy as np

    return np.frombuffer(data, "<f4").astype(np.float32)


def to_operation(operation: operation_pb2.Operation) -> types.Operation:
    return to_record(
        types.Operation,
        operation,
        state=operation_pb2.Operation.State.Name(operation.state).lower(),
        done=operation.done_count,
        total=operation.total_count,
        create_time=given(operation, "create_time", to_time),
        end_time=given(operation, "end_time", to_time),
        undo_time=given(operation, "undo_time", to_time),
        result=to_result(operation),
    )


def to_audit_event(event: pb.AuditEvent) -> types.AuditEvent:
    return types.AuditEvent(
        number=event.number,
        time=to_time(event.time),
        principal=event.principal,
        call=event.call,
        count=event.count,
        digest=event.digest,
        previous=event.previous,
        text=event.text,
    )


def to_result(operation: operation_pb2.Operation) -> types.Result | None:
    name = operation.name
    match operation.WhichOneof("result"):
        case "prune":
            labels = to_counts(operation.prune.labels)
            return to_record(types.PruneResult, operation.prune, labels=labels, operation=name)
        case "relabel":
            return to_record(types.RelabelResult, operation.relabel, operation=name)
        case "assessment":
            return to_assessment(operation.assessment, name)
        case "calibration":
            return to_calibration(operation.calibration, name)
        case "tune":
            return to_tuned(operation.tune, name)
        case "reembed":
            return to_record(types.ReembedResult, operation.reembed, operation=name)
        case "check":
            return to_record(types.CheckResult, operation.check, operation=name)
        case "unlearn":
            found = operation.unlearn
            backups = [to_time(time) for time in found.backup_times]
            return to_record(types.UnlearnResult, found, operation=name, backups=backups)
        case _:
            return None


def to_tuned(found: operation_pb2.TuneResult, operation: str) -> types.TuneResult:
    estimates = ("accuracy", "macro_accuracy", "log_loss", "behind")
    rules = [
        types.MeasuredRule(
            to_rule(each.rule),
            **{name: to_record(types.Estimate, getattr(each, name)) for name in estimates},
        )
        for each in found.rules
    ]
    chosen = rules[found.chosen]
    ungrouped = given(found, "ungrouped_count", int)
    return to_record(
        types.TuneResult,
        found,
        rules=rules,
        chosen=chosen,
        ungrouped_count=ungrouped,
        operation=operation,
    )


def to_assessment(found: operation_pb2.Assessment, operation: str) -> types.Assessment:
    return to_record(
        types.Assessment,
        found,
        labels=[
            to_record(types.LabelAssessment, each, called=to_counts(each.called))
            for each in found.labels
        ],
        suspects=[to_record(types.Suspect, each) for each in found.suspects],
        conflicts=[
            types.Conflict((each.id, each.other_id), (each.label, each.other_label), each.distance)
            for each in found.conflicts
        ],
        operation=operation,
    )


def to_judgements(answer: pb.JudgeLabelsResponse) -> list[types.LabelJudgement]:
    return [to_record(types.LabelJudgement, each) for each in answer.judgements]


def to_explanation(answer: pb.ExplainDecisionResponse) -> types.Explanation:
    flip = answer.minimal_flip if answer.HasField("minimal_flip") else None
    return types.Explanation(
        before=to_decision(answer.before),
        after=given(answer, "after", to_decision),
        minimal_flip=None if flip is None else list(flip.ids) or None,
        flipped_label=None if flip is None else flip.label or None,
        proven_minimal=flip is None or flip.proven_minimal,
        removals=[to_record(types.Removal, each) for each in answer.removals],
        thumbnails=dict(answer.thumbnails),
    )


def to_taxonomy(answer: pb.Taxonomy) -> types.Taxonomy:
    parents = {edge.child: edge.parent for edge in answer.edges}
    return types.Taxonomy(parents, list(answer.orphans), list(answer.unused))
