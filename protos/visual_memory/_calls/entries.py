"""Calls that read, list, update and delete entries."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.field_mask_pb2 import FieldMask

from visual_memory._messages.answers import to_entry
from visual_memory._messages.call import Call
from visual_memory._messages.fields import (
    Metadata,
    check_metadata,
    check_text,
    message,
    or_new_id,
    strings,
)
from visual_memory.errors import refuse
from visual_memory.types import Entry, PurgeResult
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb


def delete_entries(
    memory: str, ids: Iterable[str], allow_missing: bool, request_id: str | None
) -> Call[int]:
    request = message(
        pb.DeleteEntriesRequest,
        memory=memory,
        ids=strings(ids, "ids"),
        allow_missing=allow_missing,
        request_id=or_new_id(request_id),
    )
    return Call("DeleteEntries", request, lambda answer: int(answer.deleted_count))


def purge_entries(
    memory: str, filter: str, apply: bool, request_id: str | None
) -> Call[PurgeResult]:
    def read(answer: pb.PurgeEntriesResponse) -> PurgeResult:
        return PurgeResult(answer.purge_count, list(answer.sample_ids), answer.applied)

    request = message(
        pb.PurgeEntriesRequest,
        memory=memory,
        filter=filter,
        apply=apply,
        request_id=or_new_id(request_id) if apply else "",
    )
    return Call("PurgeEntries", request, read)


def get_entry(
    memory: str, id: str, *, include_vector: bool, include_image: bool, include_thumbnail: bool
) -> Call[Entry]:
    request = message(
        pb.GetEntryRequest,
        memory=memory,
        id=id,
        include_vector=include_vector,
        include_image=include_image,
        include_thumbnail=include_thumbnail,
    )
    return Call("GetEntry", request, to_entry)


def list_entries(
    memory: str,
    filter: str | None,
    include_vectors: bool,
    include_images: bool,
    include_thumbnails: bool,
    page_token: str,
) -> Call[tuple[list[Entry], str]]:
    def read(answer: pb.ListEntriesResponse) -> tuple[list[Entry], str]:
        return [to_entry(entry) for entry in answer.entries], answer.next_page_token

    request = message(
        pb.ListEntriesRequest,
        memory=memory,
        filter="" if filter is None else filter,
        page_token=page_token,
        include_vectors=include_vectors,
        include_images=include_images,
        include_thumbnails=include_thumbnails,
    )
    return Call("ListEntries", request, read)


def update_entry(
    memory: str, id: str, label: str | None, metadata: Metadata | None, request_id: str | None
) -> Call[Entry]:
    if label is None and metadata is None:
        refuse("label", "or metadata must be given")
    check_text(id, "entry.id")
    entry, paths = entry_pb2.Entry(id=id), []
    if label is not None:
        check_text(label, "entry.label")
        entry.label = label
        paths.append("label")
    if metadata is not None:
        check_metadata(metadata, "entry")
        entry.metadata.update(metadata)
        paths.append("metadata")
    request = message(
        pb.UpdateEntryRequest,
        memory=memory,
        entry=entry,
        update_mask=FieldMask(paths=paths),
        request_id=or_new_id(request_id),
    )
    return Call("UpdateEntry", request, to_entry)
