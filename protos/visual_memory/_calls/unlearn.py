"""Calls about unlearning and certificates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from visual_memory._calls.operations import Pending
from visual_memory._messages.answers import to_operation
from visual_memory._messages.call import Call
from visual_memory._messages.fields import check_text, message, or_new_id, strings
from visual_memory.errors import refuse
from visual_memory.types import UnlearnResult
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from visual_memory.proofs.certificate import Certificate

IDS_AT_ONCE = 10_000  # at most 2.6 MB


def unlearn_entries(
    memory: str,
    ids: Iterable[str],
    *,
    apply: bool,
    allow_missing: bool,
    request_id: str | None,
) -> Pending[UnlearnResult]:
    listed = strings(ids, "ids")
    if not listed:
        refuse("ids", "must not be empty")
    for number, id in enumerate(listed):
        check_text(id, f"ids[{number}]")
    first = message(
        pb.UnlearnEntriesRequest,
        memory=memory,
        apply=apply,
        allow_missing=allow_missing,
        request_id=or_new_id(request_id) if apply else "",
        id_count=len(listed),
    )
    parts = [
        pb.UnlearnEntriesRequest(ids=listed[start : start + IDS_AT_ONCE])
        for start in range(0, len(listed), IDS_AT_ONCE)
    ]
    return Pending(Call("UnlearnEntries", [first, *parts], to_operation), UnlearnResult)


def get_certificate(operation: str) -> Call[Certificate]:
    def read(answer: pb.Certificate) -> Certificate:
        from visual_memory.proofs.certificate import Certificate  # loads cryptography

        return Certificate.read(answer.json)

    return Call("GetCertificate", message(pb.GetCertificateRequest, operation=operation), read)
