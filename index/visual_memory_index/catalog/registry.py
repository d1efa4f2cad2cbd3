"""The registry of a catalog: which memories there are, in which files, and what was unlearned.

``SqliteRegistry`` is the one there is. What passes ``tests/index/conformance`` can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from visual_memory_index.ledger.standing import Noted
from visual_memory_index.records.request import Request


class RegistryReader(Protocol):
    """One committed state of the registry, or, inside a transaction, its state so far."""

    def names(self) -> list[str]:
        """Return the memories that are ready."""

    def file_of(self, name: str) -> str | None:
        """Return the file of a memory that is ready, or None."""

    def is_taken(self, name: str) -> bool:
        """Return True if a memory of this name is listed, ready or not."""

    def files(self) -> Mapping[str, str]:
        """Map every listed file to its memory's name, and every dropped one to an empty text."""

    def dropped(self) -> list[str]:
        """Return the files of dropped memories, which are to be removed."""

    def noted(self, file: str) -> Noted | None:
        """Return where the memory in a file stood when that was noted, or None."""

    def recall(self, request: Request) -> Any:
        """Return the answer that a request got before, or None. Raises RequestReused."""

    def knows_request(self, request_id: str) -> bool:
        """Return True if an answer to a request of this id is kept."""

    def ticks(self) -> int:
        """Return the latest tick: backups and unlearnings are ordered by ticks, not by clocks."""

    def tick_of_backup(self, backup: str) -> int:
        """Return the tick of a backup; one made elsewhere is before all."""

    def unlearned_since(
        self, secret: bytes, uid: str, ids: Iterable[str], since: int
    ) -> Iterator[str]:
        """Yield those of ``ids`` that were unlearned after the tick ``since``."""

    def unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> list[str]:
        """Return those of ``ids`` that were ever unlearned."""


class RegistryTransaction(RegistryReader, Protocol):
    """The writes of one transaction; each is seen by those after it."""

    def add(self, name: str, file: str) -> None:
        """List a memory whose file is about to be made, as not ready."""

    def set_ready(self, name: str) -> None:
        """Mark a listed memory as ready."""

    def replace(self, name: str, file: str) -> None:
        """List ``file`` as the ready memory ``name``, whatever was listed so, dropped no more."""

    def remove(self, name: str) -> str | None:
        """Take a memory off the list, and return its file; None where it is not listed."""

    def drop(self, file: str) -> None:
        """Add a file to those that are to be removed."""

    def drop_unfinished(self) -> None:
        """Drop the memories that are not ready."""

    def keep_ready(self, was_ready: Callable[[str], bool]) -> None:
        """Mark listed memories as ready whose file ``was_ready`` before."""

    def clear_dropped(self) -> None:
        """Forget the dropped files, which were removed."""

    def note(self, file: str, noted: Noted) -> None:
        """Note where the memory in a listed file stands."""

    def keep(self, request: Request, answer: Any) -> None:
        """Remember the answer to a request that has an id, for two days at least."""

    def note_backup(self, backup: str) -> None:
        """Note that a backup is made now."""

    def mark_unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> int:
        """Mark ``ids`` of the memory ``uid`` as unlearned now; return the tick.

        A mark is an HMAC under ``secret``: the registry alone names nobody.
        """

    def read_secret(self, path: Path) -> bytes:
        """Return the secret at ``path``, made with the registry. Raises LostSecret."""


class Registry(Protocol):
    """Reads, and transactions of one writer at a time. Any method raises CorruptStore, NotWritten.

    A read sees one committed state, whatever is written meanwhile, and may run in many threads.
    """

    def reading(self) -> AbstractContextManager[RegistryReader]:
        """Read one committed state."""

    def transaction(self) -> AbstractContextManager[RegistryTransaction]:
        """Begin a transaction: all or nothing, and durable when it ends."""

    def check(self) -> None:
        """Compare the registry with its checksums. Raises CorruptStore."""

    def close(self) -> None:
        """Release the registry; no other method may be called afterwards."""
