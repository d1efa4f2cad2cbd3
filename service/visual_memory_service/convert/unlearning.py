"""Unlearning and certificates, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict

from visual_memory._fingerprint import fingerprint
from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import UNLEARN, UNLEARNED_MAX, Request
from visual_memory_service.convert.hygiene import from_unlearning
from visual_memory_service.convert.requests import to_text
from visual_memory_service.errors import BadField
from visual_memory_service.unlearn import Unlearning, UnlearnResult


async def joined(
    messages: AsyncIterator[pb.UnlearnEntriesRequest],
) -> pb.UnlearnEntriesRequest:
    """The messages as one, of which no more are read than may be asked for. Raises BadField."""
    whole = await anext(messages, pb.UnlearnEntriesRequest())
    while len(whole.ids) <= UNLEARNED_MAX:
        message = await anext(messages, None)
        if message is None:
            break
        if message.memory or message.request_id or message.allow_missing or message.apply:
            raise BadField("memory", "and all but ids must be in the first message only")
        whole.ids.extend(message.ids)
    return whole


def to_unlearning(message: pb.UnlearnEntriesRequest) -> Unlearning:
    """Raises BadField."""
    if not message.ids:
        raise BadField("ids", "must not be empty")
    for number, id in enumerate(message.ids):
        to_text(id, "ids[{}]", number)
    request = None
    if message.request_id and message.apply:
        asked = pb.UnlearnEntriesRequest(
            memory=message.memory, allow_missing=message.allow_missing, ids=message.ids
        )
        request = Request(to_text(message.request_id, "request_id"), fingerprint(asked))
    return Unlearning(list(message.ids), message.allow_missing, message.apply, request)


def from_would_unlearn(memory: str, result: UnlearnResult) -> operation_pb2.Operation:
    """What would be erased, as an operation that was never noted."""
    return operation_pb2.Operation(
        memory=memory,
        kind=UNLEARN,
        state=operation_pb2.Operation.DONE,
        unlearn=from_unlearning(asdict(result)),
    )
