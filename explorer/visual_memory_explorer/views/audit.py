"""The audit log: its last events, and whether it matches the memory."""

from __future__ import annotations

from collections import deque

from starlette.responses import Response

from visual_memory import AuditEvent
from visual_memory_explorer.visit import Visit

SHOWN = 200


async def page(visit: Visit) -> Response:
    """Show the last events, and for ``verify`` check the whole log."""
    info = await visit.memory.info()
    events = deque[AuditEvent](maxlen=SHOWN)
    async for event in visit.memory.audit_events():
        events.append(event)
    head = await visit.memory.verify_audit_log() if visit.asked("verify") else None
    return visit.page("audit.html", info, events=reversed(events), head=head)
