"""The audit log: an append-only list of writes, linked by hashes, that names no entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from visual_memory_index.errors import BadAuditLog
from visual_memory_index.ledger import merkle
from visual_memory_index.ledger.merkle import leaf_hash

OTHER_STATE = "the memory is in another state than after its last event"


@dataclass(frozen=True, slots=True)
class Event:
    """A write: its ``principal`` and ``call``, the ``count`` of its entries, and its time.

    ``number`` counts from 0 and ``time`` is in microseconds since 1970. ``digest`` is the memory's
    after the write, ``previous`` the hash of the event before, empty for the first.
    """

    number: int
    time: int
    principal: str
    call: str
    count: int
    digest: str
    previous: str

    def to_json(self) -> str:
        """Return the text that is hashed: sorted keys, no spaces (RFC 8785)."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of an audit log: its size, its Merkle tree's peaks, the hash of its last event."""

    size: int = 0
    peaks: bytes = b""
    last: str = ""

    def follow(self, text: str) -> Head:
        """Return the head after one more event, given as its ``text``."""
        leaf = leaf_hash(text.encode())
        return Head(self.size + 1, merkle.append(self.size, self.peaks, leaf), leaf.hex())

    def root(self) -> str:
        """Return the root hash of the tree over all events, RFC 6962, in hex."""
        return merkle.root(self.size, self.peaks).hex()


def read(text: str, number: int) -> Event:
    """Parse an event that ``to_json`` wrote, stored as this ``number``. Raises BadAuditLog."""
    try:
        event = Event(**json.loads(text))
    except (TypeError, ValueError, RecursionError):
        event = None
    if event is None or not is_sound(event):
        raise BadAuditLog(f"event {number} cannot be read")
    if event.to_json() != text:
        raise BadAuditLog(f"event {number} is written in another way than events are")
    return event


def is_sound(event: Event) -> bool:
    """Return True if all fields have the expected types, and the numbers are below 2^53."""
    numbers = (event.number, event.time, event.count)
    texts = (event.principal, event.call, event.digest, event.previous)
    return all(type(each) is int and 0 <= each < 2**53 for each in numbers) and all(
        type(each) is str for each in texts
    )


@contextmanager
def name_memory(memory: str) -> Iterator[None]:
    """Re-raise BadAuditLog with the memory's name."""
    try:
        yield
    except BadAuditLog as bad:
        raise BadAuditLog(bad.problem, memory) from None


def check_end(last: tuple[int, str] | None, head: Head, digest: str) -> None:
    """Check that the log's last event (number, text) has the number and hash in ``head``.

    It must also record ``digest``. Raises BadAuditLog.
    """
    if last is None:
        raise BadAuditLog("it is empty")
    number, text = last
    if number != head.size - 1 or leaf_hash(text.encode()).hex() != head.last:
        raise BadAuditLog(f"it does not end with event {head.size - 1}, of which its head is")
    if read(text, number).digest != digest:
        raise BadAuditLog(OTHER_STATE)


def chained(texts: Iterable[str], first: int = 0) -> Iterator[tuple[Event, str]]:
    """Parse consecutive events from number ``first`` on, and yield each with its text.

    Each is checked against the one before. Raises BadAuditLog.
    """
    last = None if first else ""
    for number, text in enumerate(texts, first):
        event = read(text, number)
        if event.number != number:
            raise BadAuditLog(f"event {number} is missing, event {event.number} is there")
        if last not in (None, event.previous):
            raise BadAuditLog(f"event {number} does not follow the one before it")
        last = leaf_hash(text.encode()).hex()
        yield event, text


def linked(texts: Iterable[str], first: int, head: Head) -> list[Event]:
    """Return consecutive events from number ``first`` on, each checked against the one before.

    The last event is checked only if the log ends with it. Raises BadAuditLog.
    """
    events = list(chained(texts, first))
    if events and first + len(events) == head.size:
        number, (_, text) = head.size - 1, events[-1]
        if leaf_hash(text.encode()).hex() != head.last:
            raise BadAuditLog(f"it does not end with event {number}, of which its head is")
    return [event for event, _ in events]


def check(texts: Iterable[str], head: Head, digest: str) -> int:
    """Count the events of a log, after checking that they give ``head`` and end with ``digest``.

    Raises BadAuditLog for the first event that was changed, left out or put in.
    """
    grown, last = Head(), digest
    for event, text in chained(texts):
        grown, last = grown.follow(text), event.digest
    if grown != head:
        raise BadAuditLog(
            f"its {grown.size} events are not those of its head, which has {head.size}"
        )
    if last != digest:
        raise BadAuditLog(OTHER_STATE)
    return grown.size
