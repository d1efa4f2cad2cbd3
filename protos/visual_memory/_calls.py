"""Calls of one message: what each of them sends, with the reader of its answer.

Each raises InvalidArgument for a field of a type that its message cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from visual_memory._fields import (
    Metadata,
    check_metadata,
    check_text,
    message,
    named,
    strings,
    whole,
)
from visual_memory._wire import to_entry, to_memory, to_server_info
from visual_memory.errors import FailedPrecondition, refuse
from visual_memory.types import Entry, MemoryInfo, PurgeResult, ServerInfo
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

T = TypeVar("T")
EMBEDDER = "efficientnet-lite0"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One message to one method, or several together, and how its answer reads.

    ``start`` items went before it.
    """

    method: str
    request: Message | Sequence[Message]
    read: Callable[[Any], T]
    start: int = 0

    def first(self) -> Message:
        """The message, or the first of them."""
        return self.request if isinstance(self.request, Message) else self.request[0]

    def sent(self) -> Message | Iterator[Message]:
        """What goes to gRPC, each time anew."""
        return self.request if isinstance(self.request, Message) else iter(self.request)


def server_info() -> Call[ServerInfo]:
    return Call("GetServerInfo", pb.GetServerInfoRequest(), to_server_info)


def create_memory(
    name: str,
    embedder: str | None,
    dimension: int | None,
    store_images: bool,
    request_id: str | None,
) -> Call[MemoryInfo]:
    """Raises InvalidArgument, and FailedPrecondition where the answer is no such memory."""
    if embedder is not None and dimension is not None:
        refuse("embedder", "and dimension exclude each other: give one of them")
    request = message(
        pb.CreateMemoryRequest,
        name=name,
        store_images=store_images,
        request_id=named(request_id),
    )
    if dimension is None:
        embedder = EMBEDDER if embedder is None else embedder
        request.MergeFrom(message(pb.CreateMemoryRequest, embedder=embedder))
    else:
        request.dimension = whole(dimension, "dimension", least=1)

    def read(answer: Any) -> MemoryInfo:
        info = to_memory(answer)
        if store_images and not info.store_images:
            raise FailedPrecondition(
                f'The server is of a release that keeps no pictures, and made "{name}" without; '
                "delete that memory, and update the server first."
            )
        return info

    return Call("CreateMemory", request, read)


def list_memories(page_token: str) -> Call[tuple[list[MemoryInfo], str]]:
    def read(answer: pb.ListMemoriesResponse) -> tuple[list[MemoryInfo], str]:
        return [to_memory(memory) for memory in answer.memories], answer.next_page_token

    return Call("ListMemories", message(pb.ListMemoriesRequest, page_token=page_token), read)


def delete_memory(name: str, request_id: str | None) -> Call[None]:
    request = message(pb.DeleteMemoryRequest, name=name, request_id=named(request_id))
    return Call("DeleteMemory", request, lambda _: None)


def copy_memory(name: str, new_name: str, request_id: str | None) -> Call[MemoryInfo]:
    request = message(
        pb.CopyMemoryRequest, memory=name, new_name=new_name, request_id=named(request_id)
    )
    return Call("CopyMemory", request, to_memory)


def memory_info(name: str) -> Call[MemoryInfo]:
    return Call("GetMemory", message(pb.GetMemoryRequest, name=name), to_memory)


def delete_entries(
    memory: str, ids: Iterable[str], allow_missing: bool, request_id: str | None
) -> Call[int]:
    """Raises InvalidArgument."""
    request = message(
        pb.DeleteEntriesRequest,
        memory=memory,
        ids=strings(ids, "ids"),
        allow_missing=allow_missing,
        request_id=named(request_id),
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
        request_id=named(request_id) if apply else "",
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
    """Raises InvalidArgument."""
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
        request_id=named(request_id),
    )
    return Call("UpdateEntry", request, to_entry)
