"""Checking that the audit log of contents leads to where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from visual_memory_index.errors import BadAuditLog
from visual_memory_index.ledger import audit
from visual_memory_index.ledger import digest as digests
from visual_memory_index.store.contents import Contents

EVENTS_AT_ONCE = 1024


def in_order(events: Iterable[tuple[int, str]], told: Callable[[int], None]) -> Iterator[str]:
    """The texts of events that are numbered from 0. Raises BadAuditLog."""
    for expected, (number, text) in enumerate(events):
        if number != expected:
            raise BadAuditLog(f"event {expected} is missing, event {number} is there")
        if number % EVENTS_AT_ONCE == 0:
            told(number)
        yield text


def check_log(contents: Contents, name: str, kind: str, told: Callable[[int], None]) -> int:
    """How many events the audit log has, all of which lead to where the memory stands.

    ``told`` hears now and then how many were read, and may raise. Raises BadAuditLog.
    """
    with audit.of(name):
        texts = in_order(contents.events(), told)
        return audit.check(texts, contents.head, digests.shown(contents.state, kind))


def check_end(contents: Contents, name: str, kind: str) -> None:
    """Look whether the last event leads to where the memory stands. Raises BadAuditLog."""
    digest = digests.shown(contents.state, kind)
    with audit.of(name):
        audit.check_end(contents.last_event(), contents.head, digest)
