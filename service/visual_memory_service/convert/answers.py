"""Core types to messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from visual_memory.v1 import decision_pb2, entry_pb2, memory_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_embedders import EmbedderSpec
from visual_memory_index import (
    Decision,
    Entry,
    MemoryInfo,
    Neighbors,
    Page,
    StoredBatch,
)
from visual_memory_service.config import Settings
from visual_memory_service.convert.page_token import from_token
from visual_memory_service.decisions.calibration import Calibration
from visual_memory_service.decisions.refine import Refined
from visual_memory_service.decisions.reranking import Reranking

SAMPLE_MAX = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_settings(
    version: str,
    settings: Settings,
    embedders: Sequence[str],
    rerankers: Sequence[str],
    public_keys: Sequence[str],
) -> pb.GetServerInfoResponse:
    """What a client may know of this server."""
    limits = pb.Limits(
        message_bytes=settings.message_bytes_max,
        image_bytes=settings.image_bytes_max,
        image_pixels=settings.image_pixels_max,
        items=settings.items_max,
        neighbors=settings.neighbors_max,
    )
    return pb.GetServerInfoResponse(
        version=version,
        limits=limits,
        embedders=embedders,
        rerankers=rerankers,
        public_keys=public_keys,
    )


def from_info(
    info: MemoryInfo, calibration: Calibration | None, reranker: str
) -> memory_pb2.Memory:
    """A memory as it stands."""
    return memory_pb2.Memory(
        calibration=None
        if calibration is None
        else memory_pb2.CalibrationState(
            k=calibration.result.k,
            voting=calibration.result.voting,
            create_time=from_time(calibration.created_at),
            stale=calibration.revision != info.revision,
        ),
        name=info.identity.name,
        dimension=info.identity.dimension,
        embedder=from_spec(info.identity.embedder),
        create_time=from_time(info.identity.created_at),
        count=info.count,
        labels=[
            memory_pb2.LabelCount(
                label=label, count=count, pruned_count=info.pruned_counts.get(label, 0)
            )
            for label, count in info.label_counts.items()
        ],
        disk_bytes=info.bytes_on_disk,
        pruned_count=info.pruned_count,
        store_images=info.identity.store_images,
        reranker=reranker,
        digest=info.digest,
        uid=info.identity.uid,
    )


def from_damaged(name: str, damage: str) -> memory_pb2.Memory:
    """A memory of which nothing is known but what is wrong with it."""
    return memory_pb2.Memory(name=name, damage=damage)


def from_piece(piece: bytes) -> pb.BackupMemoryResponse:
    """A part of the file, perhaps empty."""
    return pb.BackupMemoryResponse(data=piece)


def from_restored(memory: memory_pb2.Memory, left_out: int) -> pb.RestoreMemoryResponse:
    """The memory, and how much of its backup was unlearned since."""
    return pb.RestoreMemoryResponse(memory=memory, left_out_count=left_out)


def from_memories(
    memories: Sequence[memory_pb2.Memory], last: str, request: pb.ListMemoriesRequest
) -> pb.ListMemoriesResponse:
    """One page; ``last`` is the name to go on after, empty at the end."""
    return pb.ListMemoriesResponse(memories=memories, next_page_token=from_token(last, request))


def from_spec(text: str | None) -> memory_pb2.EmbedderSpec | None:
    """A spec as it is stored."""
    if text is None:
        return None
    spec = EmbedderSpec.from_json(text)
    return memory_pb2.EmbedderSpec(
        name=spec.name,
        weights_sha256=spec.weights_sha256,
        dimension=spec.dimension,
        preprocessing=json.dumps(asdict(spec.preprocessing), sort_keys=True),
        bit_equal=spec.bit_equal,
    )


def from_ids(ids: Sequence[str], unlearned: Sequence[str]) -> pb.InsertEntriesResponse:
    """The ids of a batch, in order, and those of them that were to be unlearned before."""
    return pb.InsertEntriesResponse(ids=ids, unlearned_ids=unlearned)


def from_stored(batch: StoredBatch, unlearned: Sequence[str]) -> pb.ImportEntriesResponse:
    """A batch of an import that is on disk, and those of its ids that were to be unlearned."""
    return pb.ImportEntriesResponse(
        offset=batch.start,
        ids=batch.ids,
        fingerprint=batch.fingerprint,
        unlearned_ids=unlearned,
    )


def from_import_offset(offset: int) -> pb.ImportEntriesResponse:
    """Where an import goes on."""
    return pb.ImportEntriesResponse(offset=offset)


def from_working() -> pb.ImportEntriesResponse:
    """That a batch of an import is still worked on."""
    return pb.ImportEntriesResponse(working=True)


def is_from_working(response: object) -> bool:
    """Whether it is one of those, which answer nothing yet."""
    return isinstance(response, pb.ImportEntriesResponse) and response.working


def from_entry(entry: Entry) -> entry_pb2.Entry:
    """An entry with the parts that were read."""
    return entry_pb2.Entry(
        id=entry.id,
        label=entry.label,
        metadata=entry.metadata,
        create_time=from_time(entry.created_at),
        content_sha256=entry.content_sha256,
        vector=b"" if entry.vector is None else entry.vector.astype("<f4").tobytes(),
        pruned_by=entry.pruned_by,
        image=entry.image,
        thumbnail=entry.thumbnail,
    )


def from_entries(page: Page, request: pb.ListEntriesRequest) -> pb.ListEntriesResponse:
    """One page of what its filter admits."""
    last = page.entries[-1].id if page.more else ""
    return pb.ListEntriesResponse(
        entries=[from_entry(entry) for entry in page.entries],
        next_page_token=from_token(last, request),
    )


def from_deleted(ids: Sequence[str]) -> pb.DeleteEntriesResponse:
    """How many were there."""
    return pb.DeleteEntriesResponse(deleted_count=len(ids))


def from_purged(ids: Sequence[str], applied: bool) -> pb.PurgeEntriesResponse:
    """How many, and some of them."""
    return pb.PurgeEntriesResponse(
        purge_count=len(ids), sample_ids=ids[:SAMPLE_MAX], applied=applied
    )


def from_decisions(decisions: Sequence[Decision], shown: int | None) -> pb.ClassifyResponse:
    """Decisions with the first ``shown`` neighbours, None for all."""
    return pb.ClassifyResponse(
        decisions=[
            decision_pb2.Decision(
                label=decision.label,
                confidence=decision.confidence,
                scores=[
                    decision_pb2.LabelScore(label=label, score=score)
                    for label, score in decision.scores.items()
                ],
                neighbors=[
                    decision_pb2.Neighbor(id=id, label=label, distance=distance, weight=weight)
                    for id, label, distance, weight in zip(
                        decision.ids[:shown],
                        decision.labels[:shown],
                        decision.distances[:shown].tolist(),
                        decision.weights[:shown].tolist(),
                        strict=True,
                    )
                ],
            )
            for decision in decisions
        ]
    )


def from_refined(refined: Sequence[Refined], stale: bool, shown: int | None) -> pb.ClassifyResponse:
    """Decisions with what was wished for; whether the calibration used is stale."""
    response = from_decisions([each.decision for each in refined], shown)
    response.calibration_stale = stale
    for decision, each in zip(response.decisions, refined, strict=True):
        decision.rejected = each.rejected
        if each.calibrated_confidence is not None:
            decision.calibrated_confidence = each.calibrated_confidence
        if each.label_set is not None:
            decision.label_set.CopyFrom(decision_pb2.LabelSet(labels=each.label_set))
        if each.node is not None:
            decision.node.CopyFrom(decision_pb2.Node(**asdict(each.node)))
    return response


def add_rerankings(response: pb.ClassifyResponse, rerankings: Sequence[Reranking]) -> None:
    """Say of each decision whether it is a re-ranker's; nothing where none was asked."""
    for decision, reranking in zip(response.decisions, rerankings, strict=bool(rerankings)):
        decision.reranking.CopyFrom(decision_pb2.Reranking(**asdict(reranking)))


def from_neighbors(neighbors: Neighbors) -> pb.SearchResponse:
    """The neighbours of each query."""
    return pb.SearchResponse(
        results=[
            decision_pb2.Neighbors(
                neighbors=[
                    decision_pb2.Neighbor(id=id, label=label, distance=distance)
                    for id, label, distance in zip(ids, labels, distances.tolist(), strict=True)
                ]
            )
            for ids, labels, distances in zip(
                neighbors.ids, neighbors.labels, neighbors.distances, strict=True
            )
        ]
    )


def from_vectors(vectors: NDArray[np.float32]) -> pb.EmbedResponse:
    """Rows (n, d), packed."""
    data = vectors.astype("<f4").tobytes()
    return pb.EmbedResponse(vectors=entry_pb2.Vectors(rows=len(vectors), data=data))


def from_time(microseconds: int) -> Timestamp:
    """Microseconds since 1970."""
    timestamp = Timestamp()
    timestamp.FromDatetime(EPOCH + timedelta(microseconds=microseconds))
    return timestamp
