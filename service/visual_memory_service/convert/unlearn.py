"""Reads unlearnings, which come in several messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

from visual_memory.protocol.fingerprint import fingerprint
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import UNLEARNED_MAX, WITHOUT_ID, Request, TooManyIds
from visual_memory_service.convert.requests import to_text, to_texts
from visual_memory_service.errors import BadField


async def joined(messages: AsyncIterator[pb.UnlearnEntriesRequest]) -> pb.UnlearnEntriesRequest:
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


def to_unlearning(message: pb.UnlearnEntriesRequest) -> tuple[list[str], Request]:
    """Read the ids and the request_id of an unlearning. Raises BadField."""
    ids = to_texts(message.ids, "ids")
    if not (message.request_id and message.apply):
        return ids, WITHOUT_ID
    asked = pb.UnlearnEntriesRequest(
        memory=message.memory, allow_missing=message.allow_missing, ids=message.ids
    )
    return ids, Request(to_text(message.request_id, "request_id"), fingerprint(asked))
