"""Unlearning and certificates, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict

from visual_memory._fingerprint import fingerprint
from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import UNLEARN, Request
from visual_memory_service.convert.hygiene import from_unlearning
from visual_memory_service.convert.requests import to_text
from visual_memory_service.errors import BadField
from visual_memory_service.unlearn import Unlearning, UnlearnResult


async def to_unlearning(
    messages: AsyncIterator[pb.UnlearnEntriesRequest],
) -> tuple[str, Unlearning]:
    """The memory's name, and what the messages ask for together. Raises BadField."""
    first = await anext(messages, pb.UnlearnEntriesRequest())
    ids = list(first.ids)
    async for message in messages:
        if message.memory or message.request_id or message.allow_missing or message.apply:
            raise BadField("memory", "and all but ids must be in the first message only")
        ids += message.ids
    if not ids:
        raise BadField("ids", "must not be empty")
    for number, id in enumerate(ids):
        to_text(id, "ids[{}]", number)
    request = None
    if first.request_id and first.apply:
        whole = pb.UnlearnEntriesRequest(
            memory=first.memory, allow_missing=first.allow_missing, ids=ids
        )
        request = Request(to_text(first.request_id, "request_id"), fingerprint(whole))
    return first.memory, Unlearning(ids, first.allow_missing, first.apply, request)


def from_would_unlearn(memory: str, result: UnlearnResult) -> operation_pb2.Operation:
    """What would be erased, as an operation that was never noted."""
    return operation_pb2.Operation(
        memory=memory,
        kind=UNLEARN,
        state=operation_pb2.Operation.DONE,
        unlearn=from_unlearning(asdict(result)),
    )
