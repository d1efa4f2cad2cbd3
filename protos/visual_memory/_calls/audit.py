"""Calls about audit logs, checks and certificates."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from visual_memory._calls.operations import Pending
from visual_memory._messages.answers import to_audit_event, to_operation, to_page, to_record
from visual_memory._messages.call import Call
from visual_memory._messages.fields import message, name_of, or_new_id
from visual_memory.errors import InvalidCertificate
from visual_memory.types import AuditEvent, AuditHead, CheckResult, Operation, ServerInfo
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from visual_memory.proofs.certificate import Certificate, Source, Verification
    from visual_memory.proofs.keys import PublicKey

AuditPage: TypeAlias = tuple[list[AuditEvent], AuditHead, str]


def audit_page(memory: str, page_token: str) -> Call[AuditPage]:
    """Return a call that reads a page of a memory's audit log, oldest events first.

    The answer is the events, consecutive, the log's head, and the next page's token, empty after
    the last page. An empty ``page_token`` is that of the first page.
    """

    def read(answer: pb.ListAuditEventsResponse) -> AuditPage:
        events, token = to_page("events", to_audit_event, answer)
        return events, to_record(AuditHead, answer.head), token

    request = message(pb.ListAuditEventsRequest, memory=memory, page_token=page_token)
    return Call("ListAuditEvents", request, read)


def audit_events(memory: str, page_token: str) -> Call[tuple[list[AuditEvent], str]]:
    request = message(pb.ListAuditEventsRequest, memory=memory, page_token=page_token)
    return Call("ListAuditEvents", request, partial(to_page, "events", to_audit_event))


def check(memory: str, request_id: str | None) -> Pending[CheckResult]:
    request = message(pb.CheckMemoryRequest, memory=memory, request_id=or_new_id(request_id))
    return Pending(Call("CheckMemory", request, to_operation), CheckResult)


def get_certificate(operation: str | Operation) -> Call[Certificate]:
    def read(answer: pb.Certificate) -> Certificate:
        from visual_memory.proofs.certificate import Certificate  # loads cryptography

        return Certificate.read(answer.json)

    request = message(pb.GetCertificateRequest, operation=name_of(operation))
    return Call("GetCertificate", request, read)


def verified(
    path_or_certificate: Source | Certificate,
    public_key: PublicKey | Iterable[PublicKey] | None,
    memory: str | None,
    server: ServerInfo,
) -> Verification:
    """Verify that one of the keys of ``server`` signed a certificate; return its verified content.

    If ``public_key`` is given, that key, or one of several, must have signed it, too; if ``memory``
    is given, the certificate must be of that memory. Raises InvalidCertificate if anything differs,
    and InvalidArgument for a ``public_key`` that is no key.
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
