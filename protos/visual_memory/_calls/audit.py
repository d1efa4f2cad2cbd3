"""Calls about audit logs, checks and certificates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from visual_memory._calls.operations import Pending
from visual_memory._messages.answers import to_audit_event, to_audit_head, to_operation
from visual_memory._messages.call import Call
from visual_memory._messages.fields import message, or_new_id
from visual_memory.errors import InvalidCertificate
from visual_memory.types import AuditEvent, AuditHead, CheckResult, ServerInfo
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from visual_memory.proofs.certificate import Certificate, Source, Verification
    from visual_memory.proofs.keys import PublicKey


class AuditPage(NamedTuple):
    """Consecutive events, the head of the log at that time, and the token of the next page."""

    events: list[AuditEvent]
    head: AuditHead
    token: str


def audit_page(memory: str, page_token: str) -> Call[AuditPage]:
    def read(answer: pb.ListAuditEventsResponse) -> AuditPage:
        events = [to_audit_event(event) for event in answer.events]
        return AuditPage(events, to_audit_head(answer.head), answer.next_page_token)

    request = message(pb.ListAuditEventsRequest, memory=memory, page_token=page_token)
    return Call("ListAuditEvents", request, read)


def audit_events(memory: str, page_token: str) -> Call[tuple[list[AuditEvent], str]]:
    def read(answer: pb.ListAuditEventsResponse) -> tuple[list[AuditEvent], str]:
        found = page.read(answer)
        return found.events, found.token

    page = audit_page(memory, page_token)
    return Call(page.method, page.request, read)


def check(memory: str, request_id: str | None) -> Pending[CheckResult]:
    request = message(pb.CheckMemoryRequest, memory=memory, request_id=or_new_id(request_id))
    return Pending(Call("CheckMemory", request, to_operation), CheckResult)


def verified(
    path_or_certificate: Source | Certificate,
    public_key: PublicKey | Iterable[PublicKey] | None,
    memory: str | None,
    server: ServerInfo,
) -> Verification:
    """Verify a certificate with the keys of the server, and with those given.

    Raises InvalidCertificate.
    """
    from visual_memory.proofs.certificate import Certificate, verify  # which few need

    given = path_or_certificate
    certificate = given if isinstance(given, Certificate) else Certificate.read(given)
    verify(certificate, public_key, memory=memory)
    if not server.public_keys:
        raise InvalidCertificate(
            "This server has no key to sign certificates with; ask the one that made this one."
        )
    return verify(certificate, [key.encode() for key in server.public_keys])
