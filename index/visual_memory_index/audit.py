"""What was done to a memory, in a log that only grows and names no entry."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from visual_memory_index.errors import BadAuditLog
from visual_memory_index.merkle import Frontier, leaf_hash

LOCAL = "local"  # who writes, until callers have names


@dataclass(frozen=True, slots=True)
class Event:
    """One write: by which ``principal`` and ``call``, of how many entries, at what time.

    ``number`` counts from 0 and ``time`` is in microseconds since 1970. ``digest`` is that of the
    memory afterwards, ``previous`` the hash of the event before, empty in the first.
    """

    number: int
    time: int
    principal: str
    call: str
    count: int
    digest: str
    previous: str

    def to_json(self) -> str:
        """The text that is hashed: sorted keys, no spaces (RFC 8785)."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log stands: how many events, the peaks of its tree, the hash of the last event."""

    size: int = 0
    peaks: bytes = b""
    last: str = ""

    def follow(self, text: str) -> Head:
        """The head after one more event."""
        frontier, leaf = Frontier.from_bytes(self.size, self.peaks), leaf_hash(text.encode())
        frontier.append(leaf)
        return Head(frontier.size, frontier.to_bytes(), leaf.hex())

    def root(self) -> str:
        """The hash of the tree over all events, RFC 6962, in hex."""
        return Frontier.from_bytes(self.size, self.peaks).root().hex()


def read(text: str) -> Event:
    """An event that ``to_json`` wrote. Raises BadAuditLog."""
    try:
        event = Event(**json.loads(text))
    except (TypeError, ValueError):
        raise BadAuditLog(f"{text[:80]!r} is no event") from None
    if event.to_json() != text:
        raise BadAuditLog(f"event {event.number} is written in another way than events are")
    return event


def check(texts: Iterable[str], head: Head, digest: str) -> int:
    """How many events a log has that leads to ``head``, and to the memory's ``digest``.

    Raises BadAuditLog for the first event that was changed, left out or put in.
    """
    grown = Head()
    event = None
    for text in texts:
        event = read(text)
        if event.number != grown.size:
            raise BadAuditLog(f"event {grown.size} is missing, event {event.number} is there")
        if event.previous != grown.last:
            raise BadAuditLog(f"event {event.number} does not follow the one before it")
        grown = grown.follow(text)
    if grown != head:
        raise BadAuditLog(
            f"its {grown.size} events are not those of its head, which has {head.size}"
        )
    if event is not None and event.digest != digest:
        raise BadAuditLog("the memory is in another state than after its last event")
    return grown.size
