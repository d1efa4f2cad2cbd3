"""The registry of a catalog: which memories there are, in which files, and what was unlearned.

``SqliteRegistry`` is the one implementation; any that passes ``tests/index/conformance`` can
replace it.
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
        """Return the names of the memories that are ready."""

    def file_of(self, name: str) -> str | None:
        """Return the file name of a memory that is ready, or None."""

    def is_taken(self, name: str) -> bool:
        """Return True if a memory of this name is registered, ready or not."""

    def files(self) -> Mapping[str, str]:
        """Map every registered file to its memory's name, and every dropped file to ""."""

    def dropped(self) -> list[str]:
        """Return the files of dropped memories, which are to be removed."""

    def noted(self, file: str) -> Noted | None:
        """Return the audit log position and unlearning recorded of the memory in ``file``, or None.

        The position in the position file (``Noted.latest``) is not read.
        """

    def recall(self, request: Request) -> Any:
        """Return the answer that a request got before; None if it is new. Raises RequestReused."""

    def knows_request(self, request_id: str) -> bool:
        """Return True if an answer to a request of this id is kept."""

    def ticks(self) -> int:
        """Return the logical time: the number of backups and unlearnings so far."""

    def tick_of_backup(self, backup: str) -> int:
        """Return the logical time of a backup, or −1, before all others, if it is not recorded."""

    def backups(self, uid: str) -> list[int]:
        """Return the times of the recorded backups of the memory ``uid`` and its copies.

        They are in microseconds since 1970. Backups that an earlier release made are left out.
        """

    def unlearned_since(
        self, secret: bytes, uid: str, ids: Iterable[str], since: int
    ) -> Iterator[str]:
        """Yield the ``ids`` that were unlearned after the logical time ``since``.

        Counted are unlearnings in the memory ``uid`` and its copies, recorded under ``secret``.
        """

    def unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> list[str]:
        """Return the ``ids`` that were ever unlearned in the memory ``uid`` or a copy of it.

        They were recorded as HMACs under ``secret``, see ``mark_unlearned``.
        """


class RegistryTransaction(RegistryReader, Protocol):
    """The writes of one transaction; each method sees the writes before it."""

    def add(self, name: str, file: str) -> None:
        """Register a memory whose file is about to be made, as not ready."""

    def set_ready(self, name: str) -> None:
        """Set a registered memory ready, so that it is listed and can be opened."""

    def replace(self, name: str, file: str) -> None:
        """Make ``file``, even a dropped one, the file of the ready memory ``name``."""

    def remove(self, name: str) -> str | None:
        """Remove a memory from the registry; return its file, or None if it is not registered."""

    def drop(self, file: str) -> None:
        """Add a file to the dropped files, which are to be removed."""

    def drop_unfinished(self) -> None:
        """Drop the files of memories that are not ready."""

    def keep_ready(self, was_ready: Callable[[str], bool]) -> None:
        """After a crash, set each memory ready if ``was_ready`` returns True for its file."""

    def forget_dropped(self, files: Iterable[str]) -> None:
        """Forget dropped files, once they are removed."""

    def note(self, file: str, noted: Noted) -> None:
        """Record the audit log position and unlearning ``noted`` of the memory in a file.

        It does nothing if the file is not registered.
        """

    def keep(self, request: Request, answer: Any) -> None:
        """Remember the answer to a request that has an id, for two days at least."""

    def note_backup(self, backup: str, uid: str, time: int) -> None:
        """Record a backup of the memory ``uid`` by name; advance the registry's logical time.

        ``time`` is the time of its event in the audit log.
        """

    def mark_unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> int:
        """Record entries of the memory ``uid`` as unlearned; return the new logical time.

        Each is recorded as an HMAC of its id under ``secret``: the registry alone reveals no id.
        """

    def read_secret(self, path: Path) -> bytes:
        """Return the secret at ``path``; if the registry is new, make it. Raises LostSecret."""


class Registry(Protocol):
    """The record of a folder's memories and unlearnings, for one writer at a time.

    A read sees one committed state, whatever is written meanwhile, and may run in many threads.
    Methods may raise CorruptStore, FileUnavailable.
    """

    def reading(self) -> AbstractContextManager[RegistryReader]:
        """Open a read of one committed state of the registry."""

    def transaction(self) -> AbstractContextManager[RegistryTransaction]:
        """Begin a transaction: all or nothing, and durable when it ends."""

    def check(self) -> None:
        """Compare the registry with its checksums. Raises CorruptStore."""

    def close(self) -> None:
        """Release the registry; no other method may be called afterwards."""
