"""Calls that read, list, update, delete and unlearn entries."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from google.protobuf.field_mask_pb2 import FieldMask

from visual_memory._calls.operations import Pending
from visual_memory._messages import fields
from visual_memory._messages.answers import to_entry, to_operation, to_page
from visual_memory._messages.call import Call
from visual_memory.errors import refuse
from visual_memory.types import Entry, PurgeResult, UnlearnResult
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

IDS_AT_ONCE = 10_000  # at most 2.6 MB


def delete_entries(
    memory: str, ids: Iterable[str], allow_missing: bool, request_id: str | None
) -> Call[int]:
    request = fields.message(
        pb.DeleteEntriesRequest,
        memory=memory,
        ids=fields.strings(ids, "ids"),
        allow_missing=allow_missing,
        request_id=fields.or_new_id(request_id),
    )
    return Call("DeleteEntries", request, lambda answer: int(answer.deleted_count))


def unlearn_entries(
    memory: str,
    ids: Iterable[str],
    *,
    apply: bool,
    allow_missing: bool,
    request_id: str | None,
) -> Pending[UnlearnResult]:
    listed = fields.strings(ids, "ids")
    if not listed:
        refuse("ids", "must not be empty")
    for number, id in enumerate(listed):
        fields.check_text(id, f"ids[{number}]")
    first = fields.message(
        pb.UnlearnEntriesRequest,
        memory=memory,
        apply=apply,
        allow_missing=allow_missing,
        request_id=fields.or_new_id(request_id) if apply else "",
        id_count=len(listed),
    )
    parts = [
        pb.UnlearnEntriesRequest(ids=listed[start : start + IDS_AT_ONCE])
        for start in range(0, len(listed), IDS_AT_ONCE)
    ]
    return Pending(Call("UnlearnEntries", first, to_operation, parts=parts), UnlearnResult)


def purge_entries(
    memory: str, filter: str, apply: bool, request_id: str | None
) -> Call[PurgeResult]:
    def read(answer: pb.PurgeEntriesResponse) -> PurgeResult:
        return PurgeResult(answer.purge_count, list(answer.sample_ids), answer.applied)

    request = fields.message(
        pb.PurgeEntriesRequest,
        memory=memory,
        filter=filter,
        apply=apply,
        request_id=fields.or_new_id(request_id) if apply else "",
    )
    return Call("PurgeEntries", request, read)


def get_entry(memory: str, id: str, **include: bool) -> Call[Entry]:
    request = fields.message(pb.GetEntryRequest, memory=memory, id=id, **include)
    return Call("GetEntry", request, to_entry)


def list_entries(
    memory: str,
    filter: str | None,
    page_token: str,
    page_size: int = 0,
    **include: bool,
) -> Call[tuple[list[Entry], str]]:
    request = fields.message(
        pb.ListEntriesRequest,
        memory=memory,
        filter="" if filter is None else filter,
        page_token=page_token,
        page_size=page_size,
        **include,
    )
    return Call("ListEntries", request, partial(to_page, "entries", to_entry))


def update_entry(
    memory: str,
    id: str,
    label: str | None,
    metadata: fields.Metadata | None,
    request_id: str | None,
) -> Call[Entry]:
    if label is None and metadata is None:
        refuse("label", "or metadata must be given")
    fields.check_text(id, "entry.id")
    entry, paths = entry_pb2.Entry(id=id), []
    if label is not None:
        fields.check_text(label, "entry.label")
        entry.label = label
        paths.append("label")
    if metadata is not None:
        fields.check_metadata(metadata, "entry")
        entry.metadata.update(metadata)
        paths.append("metadata")
    request = fields.message(
        pb.UpdateEntryRequest,
        memory=memory,
        entry=entry,
        update_mask=FieldMask(paths=paths),
        request_id=fields.or_new_id(request_id),
    )
    return Call("UpdateEntry", request, to_entry)
