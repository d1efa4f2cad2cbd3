"""The truth of one memory: what has to keep its entries, and how it is asked and written to.

``SqliteStore`` is the one there is. Whatever passes ``tests/index/conformance`` can take its place.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.erasure.residue import Traces
from visual_memory_index.ledger.audit import Event, Head
from visual_memory_index.records.clock import now
from visual_memory_index.records.entry import Entry, Parts
from visual_memory_index.records.filter import Filter
from visual_memory_index.records.operation import Operation, State
from visual_memory_index.records.request import Request, StoredBatch
from visual_memory_index.store.contents import Contents


@dataclass(frozen=True, slots=True)
class Identity:
    """What a memory is, fixed when it is made. ``embedder`` is its spec as JSON, or None.

    ``store_images`` says whether it keeps the pictures of its entries. ``uid`` tells it from others
    of its name, but not from its copies and backups.
    """

    name: str
    dimension: int
    embedder: str | None
    created_at: int
    store_images: bool = False
    uid: str = ""

    @property
    def kind(self) -> str:
        """What of it is in its digest: the embedder, or else the dimension."""
        return self.embedder or str(self.dimension)


def new_identity(
    name: str, dimension: int, embedder: str | None, *, store_images: bool = False
) -> Identity:
    """An identity made now."""
    return Identity(name, dimension, embedder, now(), store_images, uid=secrets.token_hex(16))


class Page(NamedTuple):
    """Entries in a row, and whether others follow."""

    entries: list[Entry]
    more: bool


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """Entries as they are kept in RAM, ``vectors`` as float32 (b, d)."""

    keys: Sequence[int]
    ids: Sequence[str]
    labels: Sequence[str]
    vectors: NDArray[np.float32]
    revision: int


class AuditPage(NamedTuple):
    """Some events in a row, with where the log and the digest of the memory stood then."""

    events: list[Event]
    head: Head
    digest: str


class Known(NamedTuple):
    """What has to be known of an entry to write to it."""

    key: int
    label: str
    votes: bool


@dataclass(slots=True)
class Left:
    """What some entries are made of: their texts; the hash, vector and pictures of each."""

    labels: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    contents: list[tuple[bytes, bytes, list[bytes]]] = field(default_factory=list)


@dataclass(slots=True)
class Sought:
    """Entries of the memory ``uid`` and its copies, as those of any memory are compared with them.

    By id, by the hash of what was inserted, and by vector, of which its checksum and a hash stand.
    """

    uid: str
    ids: list[str] = field(default_factory=list)
    hashes: set[bytes] = field(default_factory=set)
    checksums: set[int] = field(default_factory=set)
    vectors: set[bytes] = field(default_factory=set)


class Transaction(Protocol):
    """The writes that can be done inside one transaction; each is seen by those after it.

    An entry has an id, which is its own for as long as it is stored, and a key, which stands for
    one vector forever. What changes entries moves the digest, and is logged by whoever does it
    before the end: the digest is kept with the log.
    """

    @property
    def head(self) -> Head:
        """Where the audit log stands now."""

    @property
    def written(self) -> int:
        """Grows with every write: what raised in between has done nothing where it has not."""

    def next_revision(self) -> int:
        """Count this change of the entries: one more than before, from 1."""

    def next_keys(self, count: int) -> range:
        """Keys that no entry ever had, and greater than any."""

    def look_up(self, ids: Iterable[str]) -> dict[str, Known]:
        """Those of ``ids`` that are stored, in the order in which they were given."""

    def entry(self, id: str) -> Entry | None:
        """One entry without its vector, as this transaction sees it."""

    def ids(self, filter: Filter) -> list[str]:
        """The ids that ``filter`` admits, ascending in byte order."""

    def count(self) -> int:
        """How many entries there are."""

    def insert(
        self,
        keys: range,
        ids: Sequence[str],
        entries: Sequence[Entry],
        vectors: NDArray[np.float32],
        created_at: int,
        elements: Sequence[bytes],
    ) -> None:
        """Add ``entries`` with ``vectors`` (b, d), bit for bit, under new ``ids`` and ``keys``.

        They vote. The ids, times and vectors in ``entries`` are not read; ``elements`` are what
        they are in the digest (``digest.elements``). Raises EntriesExist, which names the ids that
        were there; what was begun goes with the transaction.
        """

    def delete(self, keys: Sequence[int]) -> None:
        """Drop these entries with their vectors and pictures; keys of no entry are passed over.

        Results of operations that name a label which no entry has any more go with them, here and
        wherever else labels change.
        """

    def update(self, key: int, entry: Entry) -> None:
        """Set label and metadata of one entry, and nothing else of it."""

    def prune(self, keys: Sequence[int], operation: str) -> None:
        """Take the votes of these entries, for an operation that was begun."""

    def unprune(self, operation: str, dimension: int) -> StoredRows:
        """Give back the votes that an operation took; whose they are, by key. Raises CorruptStore.

        That is a change of the entries, whose revision is in what is answered.
        """

    def relabel(self, labels: Iterable[tuple[int, str]], operation: str) -> None:
        """Set the label of these keys for an operation that was begun, keeping what they were."""

    def unrelabel(self, operation: str) -> dict[str, str]:
        """Give back the labels that nothing has set since: they by id.

        Where such a label was set by an operation that was undone meanwhile, that is made up for.
        """

    def recall(self, request: Request | None) -> list[str] | None:
        """The ids that this request was answered with before, or None; None for no request.

        Raises RequestReused where the content differs, RequestErased where they were unlearned.
        """

    def keep(self, request: Request | None, ids: Sequence[str]) -> None:
        """Remember what the request is answered with, for two days at least.

        It outlives the entries, so nothing of them but ids is in it.
        """

    def check_start(self, request: Request | None) -> None:
        """Refuse a batch that does not begin where those kept of its import end.

        Raises WrongOffset, RequestErased.
        """

    def log(self, call: str, count: int) -> Event:
        """Note what was done to the memory, as the next event of the audit log."""

    def digest(self) -> str:
        """The digest as it stands now."""

    def begin(self, name: str, kind: str) -> None:
        """Note an operation that runs. Names ascend with time."""

    def draft(self, name: str, result: str) -> None:
        """Keep what is known of the result of an operation that runs."""

    def end(
        self, name: str, state: State, *, result: str | None = None, problem: str | None = None
    ) -> None:
        """Note how an operation ended; what it noted to be erased is let go of."""

    def operation(self, name: str) -> Operation:
        """Raises UnknownOperation."""

    def mark_undone(self, name: str) -> None:
        """Note that what an operation did was taken back."""

    def keep_setting(self, name: str, value: str) -> None:
        """Set what belongs to the memory beside its entries."""

    def note_erasing(self, operation: str, ids: Iterable[str]) -> None:
        """Keep the ids that an operation has to erase."""

    def erasing(self, operation: str) -> list[str]:
        """The ids that it has still to erase, ascending."""

    def left(self, keys: Sequence[int], limit_bytes: int) -> Left:
        """What these entries are made of, as far as ``limit_bytes`` go."""

    def twins(self, hashes: Iterable[bytes]) -> set[tuple[bytes, bytes]]:
        """Those hashes that entries have whose content is the same, each with their vectors."""

    def others(self, limit: int) -> Iterator[bytes]:
        """Pictures and thumbnails of so many entries, one after the other."""

    def scrub(self, operation: str, labels: Iterable[str], settings: Iterable[str]) -> list[str]:
        """Drop what else names the entries that were erased; those of ``labels`` that are gone.

        That are answers to requests, results of operations, what was derived, the ``settings`` of
        these names, and at last the noted ids.
        """

    def backups(self) -> list[int]:
        """When backups were made, in microseconds since 1970."""


class Store(Protocol):
    """Reads, and transactions for the one writer. Raises CorruptStore, NotWritten from anywhere.

    A read sees one state that was committed, whoever writes meanwhile, and may be done by many
    threads. Ids are not empty, and ordered as their UTF-8 bytes are. A memory begins with no entry,
    at revision 0, and with the event CreateMemory.
    """

    @property
    def derived_bytes_max(self) -> int:
        """What is larger is not kept by ``keep_derived``."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """All or nothing, and out of a power loss's reach when it ends. One thread at a time."""

    def complete(self) -> None:
        """Find what an older release left out. The first that is asked."""

    def identity(self) -> Identity:
        """Raises CorruptStore where no memory is kept."""

    def bytes_on_disk(self) -> int:
        """How much room it takes, with what was not tidied up yet."""

    def digest(self) -> str:
        """The digest of the entries, lower-case hex."""

    def rows(self, dimension: int) -> Iterator[StoredRows]:
        """Every entry that votes, by key, some at a time, and at last none; all of one state."""

    def pruned(self) -> list[tuple[int, str, str]]:
        """Key, id and label of every entry that does not vote."""

    def keys(self, filter: Filter) -> tuple[int, NDArray[np.int64]]:
        """The revision read, and the keys that ``filter`` admits there, in no order."""

    def ids(self, filter: Filter) -> list[str]:
        """The ids that ``filter`` admits, ascending."""

    def entry(self, id: str, parts: Parts = Parts.NONE) -> Entry | None:
        """One entry, or None."""

    def entries(
        self,
        *,
        filter: Filter | None = None,
        after: str = "",
        limit: int,
        bytes_max: int = sys.maxsize,
        parts: Parts = Parts.NONE,
    ) -> Page:
        """Up to ``limit`` entries with ids beyond ``after``, by id.

        At least one where there is one, and no more than have ``bytes_max`` together, by
        ``Entry.size``.
        """

    def images(self, ids: Sequence[str], column: Literal["image", "thumbnail"]) -> dict[str, bytes]:
        """That of those of these entries that have one, by id."""

    def contents(self) -> AbstractContextManager[Contents]:
        """All that is kept now, to be read while others write."""

    def audit_events(self, first: int, limit: int) -> AuditPage:
        """Up to ``limit`` events of the audit log from number ``first`` on. Raises BadAuditLog."""

    def recall(self, request: Request | None) -> list[str] | None:
        """Like ``Transaction.recall``, without one."""

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        """The stored batches of an import, in order. Raises RequestReused, RequestErased."""

    def fail_unfinished(self) -> None:
        """Note of all operations that run, but erasures, that they were cut short."""

    def unfinished(self) -> list[Operation]:
        """Operations that run, the oldest first."""

    def operation(self, name: str) -> Operation:
        """Raises UnknownOperation."""

    def operations(self, *, before: str, limit: int) -> list[Operation]:
        """Up to ``limit`` operations without results, the newest first, below the name ``before``.

        An empty ``before`` is above all names.
        """

    def erasing(self, operation: str) -> list[str]:
        """The ids that an operation has still to erase, ascending."""

    def found_in(self, traces: Traces) -> frozenset[bytes]:
        """The pieces of ``traces`` that are in entries, settings and names, masked."""

    def sought(self, ids: Sequence[str]) -> Sought:
        """Those of these entries that are stored, to be compared with others."""

    def holds(self, sought: Sought, *, without: Sequence[str] = ()) -> bool:
        """True if an entry has the content of one of ``sought``, or is a copy of it by its id.

        Those of the ids ``without`` do not count.
        """

    def backups(self) -> list[int]:
        """When backups were made, in microseconds since 1970."""

    def settings(self) -> dict[str, str]:
        """What belongs to the memory beside its entries, by name."""

    def derived(self, name: str) -> bytes | None:
        """What was kept under a name, if it still is what it was."""

    def derived_sizes(self, prefix: str) -> dict[str, int]:
        """How much is kept under each name that begins so, the last kept first; it is not read."""

    def keep_derived(self, name: str, value: bytes) -> None:
        """Keep what can be computed again, unless it is too large. One thread at a time."""

    def drop_derived(self, names: Iterable[str]) -> None:
        """Let go of what was kept under these names. One thread at a time."""

    def close(self) -> None:
        """Let go of whatever is held; nothing is asked afterwards."""
