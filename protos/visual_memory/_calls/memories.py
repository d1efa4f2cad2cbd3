"""Calls about the server and whole memories."""

from __future__ import annotations

from functools import partial
from typing import Any

from visual_memory._calls.operations import Pending
from visual_memory._messages.answers import to_memory, to_operation, to_page, to_server_info
from visual_memory._messages.call import Call
from visual_memory._messages.fields import message, or_new_id, whole
from visual_memory.errors import FailedPrecondition, refuse
from visual_memory.types import MemoryInfo, ReembedResult, ServerInfo
from visual_memory.v1 import service_pb2 as pb

EMBEDDER = "efficientnet-lite0"


def server_info() -> Call[ServerInfo]:
    return Call("GetServerInfo", pb.GetServerInfoRequest(), to_server_info)


def create_memory(
    name: str,
    embedder: str | None,
    dimension: int | None,
    store_images: bool,
    request_id: str | None,
) -> Call[MemoryInfo]:
    """Return a call that creates a memory for images (``embedder``) or vectors (``dimension``).

    If both are None, the embedder is ``EMBEDDER``; if both are given, InvalidArgument is raised.
    Reading the answer raises FailedPrecondition if the server is too old for ``store_images``.
    """
    if embedder is not None and dimension is not None:
        refuse("embedder", "and dimension exclude each other: give one of them")
    request = message(
        pb.CreateMemoryRequest,
        name=name,
        store_images=store_images,
        request_id=or_new_id(request_id),
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
    request = message(pb.ListMemoriesRequest, page_token=page_token)
    return Call("ListMemories", request, partial(to_page, "memories", to_memory))


def delete_memory(name: str, request_id: str | None) -> Call[None]:
    request = message(pb.DeleteMemoryRequest, name=name, request_id=or_new_id(request_id))
    return Call("DeleteMemory", request, lambda _: None)


def copy_memory(name: str, new_name: str, request_id: str | None) -> Call[MemoryInfo]:
    request = message(
        pb.CopyMemoryRequest, memory=name, new_name=new_name, request_id=or_new_id(request_id)
    )
    return Call("CopyMemory", request, to_memory)


def reembed(
    memory: str, embedder: str, former_name: str, request_id: str | None
) -> Pending[ReembedResult]:
    request = message(
        pb.ReembedMemoryRequest,
        memory=memory,
        embedder=embedder,
        former_name=former_name,
        request_id=or_new_id(request_id),
    )
    return Pending(Call("ReembedMemory", request, to_operation), ReembedResult)


def memory_info(name: str) -> Call[MemoryInfo]:
    return Call("GetMemory", message(pb.GetMemoryRequest, name=name), to_memory)
