"""What was done to a memory, in a log that only grows and names no entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from visual_memory_index.errors import BadAuditLog
from visual_memory_index.ledger.merkle import Frontier, leaf_hash

LOCAL = "local"  # who writes, until callers have names
OTHER_STATE = "the memory is in another state than after its last event"


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


def read(text: str, number: int) -> Event:
    """An event that ``to_json`` wrote, kept as this ``number``. Raises BadAuditLog."""
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
    """Whether all fields are of their types, and numbers such as every reader of JSON takes."""
    numbers = (event.number, event.time, event.count)
    texts = (event.principal, event.call, event.digest, event.previous)
    return all(type(each) is int and 0 <= each < 2**53 for each in numbers) and all(
        type(each) is str for each in texts
    )


@contextmanager
def of(memory: str) -> Iterator[None]:
    """Say of what is wrong inside whose log it is."""
    try:
        yield
    except BadAuditLog as bad:
        raise BadAuditLog(bad.problem, memory) from None


def check_end(last: tuple[int, str] | None, head: Head, digest: str) -> None:
    """Look whether the ``last`` event, with its number, leads to ``head`` and ``digest``.

    Raises BadAuditLog.
    """
    if last is None:
        raise BadAuditLog("it is empty")
    number, text = last
    if number != head.size - 1 or leaf_hash(text.encode()).hex() != head.last:
        raise BadAuditLog(f"it does not end with event {head.size - 1}, of which its head is")
    if read(text, number).digest != digest:
        raise BadAuditLog(OTHER_STATE)


def linked(texts: Iterable[str], first: int, head: Head) -> list[Event]:
    """Events in a row from number ``first`` on, each vouched for by the next or by the head.

    That is not so of the last, unless it is that of the head. Raises BadAuditLog.
    """
    events: list[Event] = []
    last = ""
    for number, text in enumerate(texts, first):
        event = read(text, number)
        if event.number != number:
            raise BadAuditLog(f"event {number} is missing, event {event.number} is there")
        if event.previous != last and (events or not first):
            raise BadAuditLog(f"event {number} does not follow the one before it")
        events.append(event)
        last = leaf_hash(text.encode()).hex()
    if events and first + len(events) == head.size and last != head.last:
        raise BadAuditLog(f"it does not end with event {head.size - 1}, of which its head is")
    return events


def check(texts: Iterable[str], head: Head, digest: str) -> int:
    """How many events a log has that leads to ``head``, and to the memory's ``digest``.

    Raises BadAuditLog for the first event that was changed, left out or put in.
    """
    grown = Head()
    event = None
    for text in texts:
        event = read(text, grown.size)
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
        raise BadAuditLog(OTHER_STATE)
    return grown.size
