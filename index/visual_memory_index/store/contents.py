"""What a store holds at one moment, to be compared with what was written to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from visual_memory_index.ledger.audit import Head
from visual_memory_index.ledger.digest import State, element, total


class StoredEntry(NamedTuple):
    """An entry as it lies in the file; ``image`` is None where none is kept."""

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
        """How many bytes there are to hash."""
        return len(self.vector) + len(self.image or b"")


class Contents(Protocol):
    """Everything at one moment, read in pieces while others may write."""

    @property
    def path(self) -> Path:
        """Where it is kept, to be named where it is damaged."""

    @property
    def state(self) -> State:
        """Where the digest stands."""

    @property
    def head(self) -> Head:
        """Where the audit log stands."""

    def count(self) -> int:
        """How many entries there are."""

    def ids(self) -> Iterator[str]:
        """The ids of all entries, in no order."""

    def entries(self) -> Iterator[list[StoredEntry]]:
        """All entries by key, as many at a time as are quickly hashed."""

    def events(self) -> Iterator[tuple[int, str]]:
        """The events of the audit log by number, each with its text."""

    def last_event(self) -> tuple[int, str] | None:
        """The one with the highest number."""

    def check_file(self, told: Callable[[], None]) -> None:
        """Have what keeps it look through itself; ``told`` is called all the time, and may raise.

        Raises CorruptStore.
        """


def state_of(entries: Sequence[StoredEntry], image_hashes: Sequence[bytes]) -> State:
    """What entries are in the digest, with the hashes of their images as those are now."""
    return total(
        [
            element(each.id, each.label, each.metadata, each.vector, image_sha256, bool(each.votes))
            for each, image_sha256 in zip(entries, image_hashes, strict=True)
        ]
    )
