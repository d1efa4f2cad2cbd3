"""Conversion of the server's messages to the types of the client."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from visual_memory.types import (
    Assessment,
    AuditEvent,
    AuditHead,
    Calibration,
    CalibrationState,
    CheckResult,
    Conflict,
    Decision,
    EmbedderSpec,
    Entry,
    Explanation,
    LabelAssessment,
    Limits,
    MemoryInfo,
    Neighbors,
    Node,
    Operation,
    PruneResult,
    RelabelResult,
    Reranking,
    RestoreResult,
    Result,
    ServerInfo,
    Suspect,
    Taxonomy,
    UnlearnResult,
)
from visual_memory.v1 import decision_pb2, entry_pb2, memory_pb2, operation_pb2
from visual_memory.v1 import service_pb2 as pb


def to_server_info(answer: pb.GetServerInfoResponse) -> ServerInfo:
    limits = Limits(
        message_bytes=answer.limits.message_bytes,
        image_bytes=answer.limits.image_bytes,
        image_pixels=answer.limits.image_pixels,
        items=answer.limits.items,
        neighbors=answer.limits.neighbors,
    )
    return ServerInfo(
        answer.version,
        limits,
        list(answer.embedders),
        list(answer.rerankers),
        list(answer.public_keys),
        answer.erasure,
    )


def to_memory(memory: memory_pb2.Memory) -> MemoryInfo:
    return MemoryInfo(
        name=memory.name,
        dimension=memory.dimension,
        embedder=to_spec(memory.embedder) if memory.HasField("embedder") else None,
        create_time=memory.create_time.ToDatetime(tzinfo=UTC),
        count=memory.count,
        labels={label.label: label.count for label in memory.labels},
        disk_bytes=memory.disk_bytes,
        calibration=to_calibration_state(memory.calibration)
        if memory.HasField("calibration")
        else None,
        pruned_count=memory.pruned_count,
        pruned_labels={
            label.label: label.pruned_count for label in memory.labels if label.pruned_count
        },
        store_images=memory.store_images,
        reranker=memory.reranker or None,
        digest=memory.digest,
        uid=memory.uid,
        damage=memory.damage or None,
    )


def to_restored(answer: pb.RestoreMemoryResponse) -> RestoreResult:
    return RestoreResult(to_memory(answer.memory), answer.left_out_count)


def to_spec(spec: memory_pb2.EmbedderSpec) -> EmbedderSpec:
    return EmbedderSpec(
        name=spec.name,
        weights_sha256=spec.weights_sha256,
        dimension=spec.dimension,
        preprocessing=spec.preprocessing,
        bit_equal=spec.bit_equal,
    )


def to_entry(entry: entry_pb2.Entry) -> Entry:
    return Entry(
        id=entry.id,
        label=entry.label,
        metadata=dict(entry.metadata),
        create_time=entry.create_time.ToDatetime(tzinfo=UTC),
        content_sha256=entry.content_sha256.hex(),
        pruned_by=entry.pruned_by,
        vector=np.frombuffer(entry.vector, "<f4").astype(np.float32) if entry.vector else None,
        image=entry.image or None,
        thumbnail=entry.thumbnail or None,
    )


def to_decision(decision: decision_pb2.Decision, stale: bool = False) -> Decision:
    return Decision(
        label=decision.label,
        confidence=decision.confidence,
        scores={score.label: score.score for score in decision.scores},
        neighbors=to_neighbors(decision.neighbors),
        calibrated_confidence=decision.calibrated_confidence
        if decision.HasField("calibrated_confidence")
        else None,
        rejected=decision.rejected,
        label_set=list(decision.label_set.labels) if decision.HasField("label_set") else None,
        node=Node(decision.node.name, decision.node.depth, decision.node.share)
        if decision.HasField("node")
        else None,
        calibration_stale=stale,
        reranking=to_reranking(decision.reranking) if decision.HasField("reranking") else None,
    )


def to_reranking(reranking: decision_pb2.Reranking) -> Reranking:
    return Reranking(reranking.reranker, reranking.applied, reranking.problem)


def to_neighbors(neighbors: Sequence[decision_pb2.Neighbor]) -> Neighbors:
    return Neighbors(
        ids=[each.id for each in neighbors],
        labels=[each.label for each in neighbors],
        distances=np.array([each.distance for each in neighbors], np.float64),
        weights=np.array([each.weight for each in neighbors], np.float64),
    )


def to_vectors(vectors: entry_pb2.Vectors) -> NDArray[np.float32]:
    rows = np.frombuffer(vectors.data, "<f4").astype(np.float32)
    return rows.reshape(vectors.rows, -1)


def to_operation(operation: operation_pb2.Operation) -> Operation:
    return Operation(
        name=operation.name,
        memory=operation.memory,
        kind=operation.kind,
        state=operation_pb2.Operation.State.Name(operation.state).lower(),
        done=operation.done_count,
        total=operation.total_count,
        problem=operation.problem,
        create_time=to_time(operation, "create_time"),
        end_time=to_time(operation, "end_time"),
        undo_time=to_time(operation, "undo_time"),
        result=to_result(operation),
    )


def to_audit_event(event: pb.AuditEvent) -> AuditEvent:
    return AuditEvent(
        number=event.number,
        time=event.time.ToDatetime(tzinfo=UTC),
        principal=event.principal,
        call=event.call,
        count=event.count,
        digest=event.digest,
        previous=event.previous,
        text=event.text,
    )


def to_audit_head(head: pb.AuditHead) -> AuditHead:
    return AuditHead(head.size, head.root, head.last, head.digest)


def to_result(
    operation: operation_pb2.Operation,
) -> Result | None:
    match operation.WhichOneof("result"):
        case "prune":
            prune = operation.prune
            return PruneResult(
                ids=list(prune.ids),
                labels={label.label: label.count for label in prune.labels},
                accuracy_before=prune.accuracy_before,
                accuracy_after=prune.accuracy_after,
                applied=prune.applied,
                operation=operation.name,
            )
        case "relabel":
            relabel = operation.relabel
            return RelabelResult(list(relabel.ids), relabel.applied, operation.name)
        case "assessment":
            return to_assessment(operation.assessment, operation.name)
        case "calibration":
            found = operation.calibration
            return Calibration(
                k=found.k,
                voting=found.voting,
                count=found.count,
                error_before=found.error_before,
                error_after=found.error_after,
                rejection_distance=found.rejection_distance,
                operation=operation.name,
            )
        case "check":
            check = operation.check
            return CheckResult(check.entry_count, check.event_count, check.digest, operation.name)
        case "unlearn":
            unlearn = operation.unlearn
            return UnlearnResult(
                count=unlearn.count,
                unknown_count=unlearn.unknown_count,
                unknown_ids=list(unlearn.unknown_ids),
                applied=unlearn.applied,
                operation=operation.name,
                also_in=list(unlearn.also_in),
                not_asked=list(unlearn.not_asked),
                backups=[each.ToDatetime(tzinfo=UTC) for each in unlearn.backup_times],
            )
        case _:
            return None


def to_time(message: operation_pb2.Operation, name: str) -> datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # one of its fields' names
        return None
    time: datetime = getattr(message, name).ToDatetime(tzinfo=UTC)
    return time


def to_assessment(found: operation_pb2.Assessment, operation: str) -> Assessment:
    return Assessment(
        count=found.count,
        accuracy=found.accuracy,
        calibration_error=found.calibration_error,
        labels=[
            LabelAssessment(
                label=each.label,
                count=each.count,
                accuracy=each.accuracy,
                called={called.label: called.count for called in each.called},
                thin=each.thin,
            )
            for each in found.labels
        ],
        suspects=[
            Suspect(each.id, each.label, each.proposed, each.score, each.reason)
            for each in found.suspects
        ],
        conflicts=[
            Conflict((each.id, each.other_id), (each.label, each.other_label), each.distance)
            for each in found.conflicts
        ],
        operation=operation,
    )


def to_explanation(answer: pb.ExplainDecisionResponse) -> Explanation:
    flip = answer.minimal_flip if answer.HasField("minimal_flip") else None
    return Explanation(
        before=to_decision(answer.before),
        after=to_decision(answer.after) if answer.HasField("after") else None,
        minimal_flip=None if flip is None else list(flip.ids),
        flipped_label=None if flip is None else flip.label,
        proven_minimal=flip is None or flip.proven_minimal,
        thumbnails=dict(answer.thumbnails),
    )


def to_calibration_state(state: memory_pb2.CalibrationState) -> CalibrationState:
    time = state.create_time.ToDatetime(tzinfo=UTC)
    return CalibrationState(state.k, state.voting, time, state.stale)


def to_taxonomy(answer: pb.Taxonomy) -> Taxonomy:
    parents = {edge.child: edge.parent for edge in answer.edges}
    return Taxonomy(parents, list(answer.orphans), list(answer.unused))
