"""Unlearning, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict

from visual_memory.protocol import fingerprint
from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import UNLEARN, UNLEARNED_MAX, WITHOUT_ID, Request, TooManyIds
from visual_memory_service.convert.operations import from_unlearning
from visual_memory_service.convert.requests import to_text
from visual_memory_service.erasure.unlearn import Unlearning, UnlearnResult
from visual_memory_service.errors import BadField


async def joined(
    messages: AsyncIterator[pb.UnlearnEntriesRequest],
) -> pb.UnlearnEntriesRequest:
    """Join the messages of a stream, which must bring as many ids as the first says.

    Reads no further. Raises BadField, TooManyIds.
    """
    whole = await anext(messages, pb.UnlearnEntriesRequest())
    if whole.id_count < 1:
        raise BadField(
            "id_count",
            "must say in the first message how many ids come in all, at least 1, so that a stream "
            "that breaks off erases nothing",
        )
    if whole.id_count > UNLEARNED_MAX:
        raise TooManyIds(whole.id_count, UNLEARNED_MAX)
    while len(whole.ids) <= whole.id_count:
        message = await anext(messages, None)
        if message is None:
            break
        if any(field.name != "ids" for field, _ in message.ListFields()):
            raise BadField("memory", "and all but ids must be in the first message only")
        whole.ids.extend(message.ids)
    if len(whole.ids) != whole.id_count:
        more = " or more" if len(whole.ids) > whole.id_count else ""
        raise BadField(
            "id_count",
            f"is {whole.id_count}, but {len(whole.ids)}{more} ids came, and nothing was erased; "
            "send all of them again with their number",
        )
    return whole


def to_unlearning(message: pb.UnlearnEntriesRequest) -> Unlearning:
    """Read an unlearning from its joined messages. Raises BadField."""
    for number, id in enumerate(message.ids):
        to_text(id, "ids[{}]", number)
    request = WITHOUT_ID
    if message.request_id and message.apply:
        asked = pb.UnlearnEntriesRequest(
            memory=message.memory, allow_missing=message.allow_missing, ids=message.ids
        )
        request = Request(to_text(message.request_id, "request_id"), fingerprint(asked))
    return Unlearning(list(message.ids), message.allow_missing, message.apply, request)


def from_would_unlearn(memory: str, result: UnlearnResult) -> operation_pb2.Operation:
    """Write a dry run of an unlearning as an operation that was never stored."""
    return operation_pb2.Operation(
        memory=memory,
        kind=UNLEARN,
        state=operation_pb2.Operation.DONE,
        unlearn=from_unlearning(asdict(result)),
    )
