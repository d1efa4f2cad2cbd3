"""The contents of a store at one moment, to be compared with its digest and audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from visual_memory_index.errors import BadAuditLog
from visual_memory_index.ledger import audit
from visual_memory_index.ledger import digest as digests

EVENTS_AT_ONCE = 1024


class StoredEntry(NamedTuple):
    """An entry as stored; ``image`` is None if none is stored."""

    key: int
    id: str
    label: str
    metadata: str
    vector: bytes
    votes: bool
    content_sha256: bytes
    image: bytes | None

    @property
    def size(self) -> int:
        """Number of bytes to hash."""
        return len(self.vector) + len(self.image or b"")


class Contents(Protocol):
    """All that is stored at one moment, read in pieces while others may write."""

    @property
    def path(self) -> Path:
        """The file to be named in errors."""

    @property
    def state(self) -> digests.State:
        """The state of the digest, uint16 (1024,)."""

    @property
    def head(self) -> audit.Head:
        """The head of the audit log."""

    def count(self) -> int:
        """Return the number of entries."""

    def ids(self) -> Iterator[str]:
        """Yield the ids of all entries, in no order."""

    def entries(self) -> Iterator[list[StoredEntry]]:
        """Yield all entries by key, in parts that take little time to hash."""

    def events(self) -> Iterator[tuple[int, str]]:
        """Yield (number, text) of every audit event, by number."""

    def last_event(self) -> tuple[int, str] | None:
        """Return (number, text) of the event with the highest number, or None."""

    def check_file(self, on_progress: Callable[[], None]) -> None:
        """Run the database's own check; ``on_progress`` is called often, and may raise.

        Raises CorruptStore.
        """


def state_of(entries: Sequence[StoredEntry], image_hashes: Sequence[bytes]) -> digests.State:
    """Return the digest's state for ``entries``, whose images have these SHA-256 ``image_hashes``.

    A hash is empty if the entry has no image.
    """
    return digests.total(
        [
            digests.element(
                each.id, each.label, each.metadata, each.vector, image_sha256, bool(each.votes)
            )
            for each, image_sha256 in zip(entries, image_hashes, strict=True)
        ]
    )


def in_order(
    events: Iterable[tuple[int, str]], on_progress: Callable[[int], None]
) -> Iterator[str]:
    """Yield the texts of events, checking that they are numbered from 0. Raises BadAuditLog."""
    for expected, (number, text) in enumerate(events):
        if number != expected:
            raise BadAuditLog(f"event {expected} is missing, event {number} is there")
        if number % EVENTS_AT_ONCE == 0:
            on_progress(number)
        yield text


def check_log(contents: Contents, name: str, kind: str, on_progress: Callable[[int], None]) -> int:
    """Check that all audit events fit together and end with the memory's digest; count them.

    ``name`` is the memory's name, for the error, and ``kind`` its ``Identity.kind``.
    ``on_progress`` is called with the number of events read, and may raise. Raises BadAuditLog.
    """
    with audit.name_memory(name):
        texts = in_order(contents.events(), on_progress)
        return audit.check(texts, contents.head, digests.shown(contents.state, kind))


def check_end(contents: Contents, name: str, kind: str) -> None:
    """Check that the last audit event is the one in the log's head and has the memory's digest.

    ``name`` is the memory's name, for the error, and ``kind`` its ``Identity.kind``. Raises
    BadAuditLog.
    """
    digest = digests.shown(contents.state, kind)
    with audit.name_memory(name):
        audit.check_end(contents.last_event(), contents.head, digest)
