"""Writes core types as messages: limits, memories, entries, imports, audit logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from google.protobuf.timestamp_pb2 import Timestamp

from visual_memory.v1 import entry_pb2, memory_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_embedders import EmbedderSpec
from visual_memory_index import AuditPage, Entry, Memory, MemoryInfo, Page, Rule, StoredBatch
from visual_memory_index.memory.default_rules import DefaultRule
from visual_memory_index.votes.drift import Drift
from visual_memory_service.config import Settings
from visual_memory_service.convert.page_token import from_token
from visual_memory_service.decisions.calibration import Calibration

SAMPLE_MAX = 100


def from_settings(settings: Settings) -> pb.Limits:
    """Build the message of the limits of a server."""
    return pb.Limits(
        message_bytes=settings.message_bytes_max,
        image_bytes=settings.image_bytes_max,
        image_pixels=settings.image_pixels_max,
        items=settings.items_max,
        neighbors=settings.neighbors_max,
    )


def from_info(
    info: MemoryInfo,
    calibration: Calibration | None,
    drift: Drift | None,
    default_rule: DefaultRule | None,
    reranker: str,
) -> memory_pb2.Memory:
    """Convert a memory's info to a message.

    With it come its calibration and drift, its default rule and its re-ranker.
    """
    return memory_pb2.Memory(
        calibration=None
        if calibration is None
        else memory_pb2.CalibrationState(
            **calibration.rule.parameters(),
            create_time=from_time(calibration.created_at),
            stale=calibration.revision != info.revision,
        ),
        default_rule=None
        if default_rule is None
        else memory_pb2.DefaultRule(
            rule=from_rule(default_rule.rule),
            create_time=from_time(default_rule.created_at),
            changes=info.revision - default_rule.revision,
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
        originals=info.originals,
        drift=None
        if drift is None
        else memory_pb2.DriftState(**asdict(drift), drifting=drift.drifting),
    )


def from_rule(rule: Rule) -> memory_pb2.Rule:
    """Build the message of a rule, without the parameters that make no difference with it."""
    return memory_pb2.Rule(**rule.parameters())


def from_spec(text: str | None) -> memory_pb2.EmbedderSpec | None:
    """Build the message of an embedder spec from its stored JSON; None for a memory of vectors."""
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


def from_stored(batch: StoredBatch, unlearned: Sequence[str]) -> pb.ImportEntriesResponse:
    """Build the acknowledgement of a stored batch; ``unlearned`` are ids unlearned before."""
    return pb.ImportEntriesResponse(
        offset=batch.start, ids=batch.ids, fingerprint=batch.fingerprint, unlearned_ids=unlearned
    )


def is_from_working(response: object) -> bool:
    """Return True if a response only says that an import is working, and acknowledges no batch."""
    return isinstance(response, pb.ImportEntriesResponse) and response.working


def from_entry(entry: Entry) -> entry_pb2.Entry:
    """Convert an entry to a message; vector, image and thumbnail are empty if not read."""
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


def from_entries(
    page: Page, request: pb.ListEntriesRequest, memory: Memory
) -> pb.ListEntriesResponse:
    """Build the message of one page of entries."""
    last = page.entries[-1].id if page.more else ""
    return pb.ListEntriesResponse(
        entries=[from_entry(entry) for entry in page.entries],
        next_page_token=from_token(last, request, memory),
    )


def from_purged(ids: Sequence[str], applied: bool) -> pb.PurgeEntriesResponse:
    """Build the answer to a purge: the number of its entries, and a sample of their ids.

    ``applied`` is False for a dry run, which deleted nothing.
    """
    return pb.PurgeEntriesResponse(
        purge_count=len(ids), sample_ids=ids[:SAMPLE_MAX], applied=applied
    )


def from_audit_page(
    page: AuditPage, end: int, request: pb.ListAuditEventsRequest, memory: Memory
) -> pb.ListAuditEventsResponse:
    """Build the answer of a page of audit events; ``end`` is the number after the last event."""
    return pb.ListAuditEventsResponse(
        events=[
            pb.AuditEvent(
                number=event.number,
                time=from_time(event.time),
                principal=event.principal,
                call=event.call,
                count=event.count,
                digest=event.digest,
                previous=event.previous,
                text=event.to_json(),
            )
            for event in page.events
        ],
        next_page_token=from_token(str(end) if end < page.head.size else "", request, memory),
        head=pb.AuditHead(
            size=page.head.size, root=page.head.root(), last=page.head.last, digest=page.digest
        ),
    )


def from_time(microseconds: int) -> Timestamp:
    """Convert microseconds since 1970 to a Timestamp."""
    timestamp = Timestamp()
    timestamp.FromMicroseconds(microseconds)
    return timestamp
