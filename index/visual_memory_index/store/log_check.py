"""Checking that the audit log of contents leads to where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from visual_memory_index.errors import BadAuditLog
from visual_memory_index.ledger import audit
from visual_memory_index.ledger import digest as digests
from visual_memory_index.store.contents import Contents

EVENTS_AT_ONCE = 1024


def in_order(
    events: Iterable[tuple[int, str]], on_progress: Callable[[int], None]
) -> Iterator[str]:
    """Yield the texts of events, which must be numbered from 0. Raises BadAuditLog."""
    for expected, (number, text) in enumerate(events):
        if number != expected:
            raise BadAuditLog(f"event {expected} is missing, event {number} is there")
        if number % EVENTS_AT_ONCE == 0:
            on_progress(number)
        yield text


def check_log(contents: Contents, name: str, kind: str, on_progress: Callable[[int], None]) -> int:
    """Check that all audit events lead to the memory's digest; return their number.

    ``on_progress`` is called with the number of events read, and may raise. Raises BadAuditLog.
    """
    with audit.name_memory(name):
        texts = in_order(contents.events(), on_progress)
        return audit.check(texts, contents.head, digests.shown(contents.state, kind))


def check_end(contents: Contents, name: str, kind: str) -> None:
    """Check that the last audit event leads to the memory's digest. Raises BadAuditLog."""
    digest = digests.shown(contents.state, kind)
    with audit.name_memory(name):
        audit.check_end(contents.last_event(), contents.head, digest)
