"""Audit log, both ways."""

from __future__ import annotations

from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import AuditPage
from visual_memory_service.convert.answers import from_time
from visual_memory_service.convert.page_token import from_token, to_page_bounds
from visual_memory_service.errors import BadField

DIGITS_MAX = 18  # of a number that SQLite takes


def to_audit_page(request: pb.ListAuditEventsRequest) -> tuple[int, int]:
    """Read the number of the first event, and the page size. Raises BadField."""
    token, size = to_page_bounds(request)
    first = token or "0"
    if not (first.isascii() and first.isdecimal() and len(first) <= DIGITS_MAX):
        raise BadField("page_token", "must be one that this call answered with")
    return int(first), size


def from_audit_page(
    page: AuditPage, end: int, request: pb.ListAuditEventsRequest
) -> pb.ListAuditEventsResponse:
    """Write the events before number ``end``, where the next page begins if there is one."""
    return pb.ListAuditEventsResponse(
        events=[
            pb.AuditEvent(
                number=event.number,
                time=from_time(event.time),
                principal=event.principal,
                call=event.call,
                count=event.count,
                digest=event.digest,
                previous=event.previous,
                text=event.to_json(),
            )
            for event in page.events
        ],
        next_page_token=from_token(str(end) if end < page.head.size else "", request),
        head=pb.AuditHead(
            size=page.head.size, root=page.head.root(), last=page.head.last, digest=page.digest
        ),
    )
