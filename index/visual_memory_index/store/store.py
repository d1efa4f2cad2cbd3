"""The protocols of a store, which keeps the entries of one memory for good.

``SqliteStore`` is the one implementation; any that passes ``tests/index/conformance`` can replace
it. Erasing has protocols of its own, for the bytes of a store: see ``stored_files``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.ledger.audit import Event, Head
from visual_memory_index.records.entry import (
    CodedEntries,
    Entry,
    Keys,
    Known,
    Parts,
    Texts,
    VotingEntries,
    now,
)
from visual_memory_index.records.filter import Filter
from visual_memory_index.records.operation import Operation, State
from visual_memory_index.records.request import Request, StoredBatch
from visual_memory_index.store.contents import Contents


@dataclass(frozen=True, slots=True)
class Identity:
    """Name, dimension and embedder of a memory, fixed when the memory is made.

    ``embedder`` is its spec as JSON, or None. ``store_images`` is True if the memory keeps the
    pictures of its entries. ``uid`` is shared with the memory's copies and backups alone.
    """

    name: str
    dimension: int
    embedder: str | None
    created_at: int
    store_images: bool = False
    uid: str = ""

    @property
    def kind(self) -> str:
        """The embedder, or else the dimension, as text that is hashed into the memory's digest."""
        return self.embedder or str(self.dimension)


class Reembedded(NamedTuple):
    """Another embedder for a copy: the ``identity`` that it gets, and new vectors by key.

    ``vectors_of`` returns unit vectors float32 (n, d) for ascending keys. The settings named in
    ``dropped`` depend on the former vectors, and are left out.
    """

    identity: Identity
    vectors_of: Callable[[Sequence[int]], NDArray[np.float32]]
    dropped: Sequence[str]


class Picture(NamedTuple):
    """The stored picture of an entry, as it was sent, by the entry's key."""

    key: int
    id: str
    image: bytes


def new_identity(
    name: str, dimension: int, embedder: str | None, *, store_images: bool = False
) -> Identity:
    """Return the identity of a memory made now."""
    return Identity(name, dimension, embedder, now(), store_images, uid=secrets.token_hex(16))


class Page(NamedTuple):
    """Consecutive entries; ``more`` is True if others follow."""

    entries: list[Entry]
    more: bool


class AuditPage(NamedTuple):
    """Consecutive audit events, with the log's head and the memory's digest at that moment."""

    events: list[Event]
    head: Head
    digest: str


@dataclass(slots=True)
class Sought:
    """Entries of the memory ``uid``, by ``ids`` and content, to be searched for in any memory.

    Ids are compared only in the memory itself and its copies. In all memories ``hashes`` of the
    content are compared, and the vectors: by their CRC-32, then by ``hashed``.
    """

    uid: str
    ids: list[str] = field(default_factory=list)
    hashes: set[bytes] = field(default_factory=set)
    checksums: set[int] = field(default_factory=set)
    vectors: set[bytes] = field(default_factory=set)


def hashed(vector: bytes) -> bytes:
    """Return the 16-byte hash of a vector's bytes that ``Sought.vectors`` has."""
    return blake2b(vector, digest_size=16).digest()


class Labelled(NamedTuple):
    """Ids and keys of n entries, each once, and the labels that they got: arrays (n,)."""

    ids: NDArray[np.object_]
    keys: Keys
    labels: NDArray[np.object_]


class Transaction(Protocol):
    """The writes and reads of one transaction; each sees the writes before it.

    An entry has an id, unique among the stored ids, and a key, which stands for one vector forever.
    Writes to entries update the digest; the caller logs these writes before the end, since the
    digest is kept with the log.
    """

    @property
    def head(self) -> Head:
        """The head of the audit log so far."""

    @property
    def written(self) -> int:
        """A number that grows with every write, and is unchanged only if nothing was written."""

    def next_revision(self) -> int:
        """Increase the revision, the count of changes of the entries, by 1, and return it."""

    def next_keys(self, count: int) -> range:
        """Return ``count`` keys greater than any that an entry ever had."""

    def look_up(self, ids: Iterable[str]) -> tuple[Known, list[str]]:
        """Return the entries with these ``ids``, and the ids that none has, in their order.

        Each comes once.
        """

    def entry(self, id: str) -> Entry | None:
        """Return one entry without its vector, or None."""

    def ids(self, filter: Filter) -> list[str]:
        """Return the ids of entries that match ``filter``, ascending in byte order."""

    def keys(self, filter: Filter) -> Keys:
        """Return the keys of the same entries, in no order."""

    def count(self) -> int:
        """Return the number of entries."""

    def insert(
        self,
        keys: range,
        ids: Sequence[str],
        entries: Sequence[Entry],
        vectors: NDArray[np.float32],
        created_at: int,
        elements: Sequence[bytes],
        codes: NDArray[np.uint8] | None = None,
    ) -> None:
        """Add ``entries`` with ``vectors`` (b, d), bit for bit, under new ``ids`` and ``keys``.

        The entries vote. The ids, times and vectors in ``entries`` are not read; ``elements`` are
        the entries' elements of the digest (``digest.elements``), ``codes`` the codes of the
        vectors, if they are to be kept. Raises EntriesExist with the ids
        already stored; the transaction has to be rolled back then.
        """

    def delete(self, keys: Keys) -> None:
        """Delete these entries with their vectors and pictures; ignore keys that no entry has.

        Results of operations that name a label which no entry has any more are dropped, too, as
        after every change of labels.
        """

    def update(self, key: int, entry: Entry) -> None:
        """Set label and metadata of the entry ``key`` to those of ``entry``."""

    def prune(self, keys: Keys, operation: str) -> None:
        """Mark these entries as pruned by a running operation, so that they no longer vote."""

    def unprune(self, operation: str, dimension: int) -> VotingEntries:
        """Let the entries that an operation pruned vote again, and return them by key.

        ``dimension`` is that of the memory's vectors. Raises CorruptStore if a stored vector is
        damaged.
        """

    def relabel(self, keys: Keys, labels: Texts, operation: str) -> None:
        """Set a label for each of ``keys`` as a part of a running operation; store the former."""

    def unrelabel(self, operation: str) -> Labelled:
        """Restore the labels that an operation replaced, unless set since; return them.

        Keys are ascending. If the operation that set a former label was undone meanwhile, the label
        before that one is restored.
        """

    def recall(self, request: Request) -> list[str] | None:
        """Return the ids that this request was answered with before, or None if it is new.

        Returns None also if the request has no id. Raises RequestReused if its content differs,
        RequestErased if the ids were unlearned.
        """

    def keep(self, request: Request, ids: Sequence[str]) -> None:
        """Store the answer to a request that has an id, for two days at least.

        The answer is kept longer than the entries, so it contains nothing of them but ids.
        """

    def check_start(self, request: Request) -> None:
        """Check that a batch of an import begins where its stored batches end.

        Raises WrongOffset, RequestErased.
        """

    def log(self, call: str, count: int, principal: str) -> Event:
        """Append an event to the audit log, that ``principal`` did ``call`` to ``count`` entries.

        Return the event, with its number, time and hashes.
        """

    def digest(self) -> str:
        """Return the digest of the entries as this transaction sees them."""

    def begin(self, name: str, kind: str, principal: str, *, created_at: int | None = None) -> None:
        """Add a running operation of this ``kind``, begun by ``principal``, by default now.

        ``name`` has to sort after the names of earlier operations.
        """

    def draft(self, name: str, result: str) -> None:
        """Store a preliminary result of a running operation."""

    def end(
        self, name: str, state: State, *, result: str | None = None, problem: str | None = None
    ) -> None:
        """Record that an operation ended in ``state``, and clear its list of ids left to erase."""

    def operation(self, name: str) -> Operation:
        """Return one operation. Raises UnknownOperation."""

    def mark_undone(self, name: str) -> None:
        """Mark an operation as undone."""

    def setting(self, name: str) -> str | None:
        """Return one setting of the memory, or None if it was never stored."""

    def keep_setting(self, name: str, value: str) -> None:
        """Store one setting of the memory, such as its taxonomy."""

    def note_ids_to_unlearn(self, operation: str, ids: Iterable[str]) -> None:
        """Store the ids that an operation has to erase."""

    def ids_to_unlearn(self, operation: str) -> list[str]:
        """Return the ids that an operation still has to erase, ascending."""

    def scrub(self, operation: str, labels: Iterable[str], settings: Iterable[str]) -> list[str]:
        """Drop data that names erased entries elsewhere; return the ``labels`` that no entry has.

        Dropped are answers to requests, results of operations, derived data, the settings named in
        ``settings``, and last the ids that the operation had to erase.
        """

    def backups(self) -> list[int]:
        """Return the times of backups, in microseconds since 1970."""


class Store(Protocol):
    """The storage of one memory, for one writer.

    Any method may raise CorruptStore or FileUnavailable. A read sees one committed state, whatever
    is written meanwhile, and may run in many threads. Ids are not empty, and sort by their UTF-8
    bytes. A memory begins with no entry, at revision 0, and with the event CreateMemory.
    """

    @property
    def derived_bytes_max(self) -> int:
        """The size in bytes of the largest value that ``keep_derived`` stores."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction: all or nothing, and durable when it ends.

        Only one thread at a time may be in one.
        """

    def complete(self) -> None:
        """Compute data that an older release did not store; to be called before anything else."""

    def check(self) -> None:
        """Compare all that ``rows`` and later reads do not check with what was written."""

    def identity(self) -> Identity:
        """Return the memory's identity. Raises CorruptStore if no memory is stored."""

    def bytes_on_disk(self) -> int:
        """Return the size of the store in bytes, write-ahead log included."""

    def digest(self) -> str:
        """Return the digest of the entries, lower-case hex."""

    def entry_count(self) -> int:
        """Return the number of entries noted with each write, or as many as the file could hold."""

    def rows(self, dimension: int) -> Iterator[tuple[int, VotingEntries]]:
        """Yield the revision and the voting entries of one committed state, by key, in parts.

        The last part is empty. ``dimension`` is that of the vectors.
        """

    def coded_rows(
        self, dimension: int, encode: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
    ) -> Iterator[tuple[int, CodedEntries]]:
        """Yield the same with codes in place of vectors; ``encode`` makes those not stored."""

    def keep_codes(self, keys: NDArray[np.int64], made: NDArray[np.uint8]) -> None:
        """Store the codes ``made`` (n, b) for the entries with ascending ``keys``.

        Only one thread at a time may call this.
        """

    def pruned(self) -> list[tuple[int, str, str]]:
        """Return key, id and label of every entry that does not vote."""

    def vectors(
        self, keys: NDArray[np.int64], dimension: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return those of ascending ``keys`` that entries have, ascending, and their vectors."""

    def keys(self, filter: Filter) -> tuple[int, NDArray[np.int64]]:
        """Return the revision read, and the keys of entries matching ``filter``, in no order."""

    def ids(self, filter: Filter) -> list[str]:
        """Return the ids of entries that match ``filter``, ascending."""

    def metadata_values(self, key: str) -> dict[str, str]:
        """Return the value that each entry's metadata has for ``key``, by id, where it has one."""

    def has_metadata(self, key: str) -> bool:
        """Return True if the metadata of an entry that votes have ``key``."""

    def entry(self, id: str, parts: Parts = Parts.NONE) -> Entry | None:
        """Return one entry, or None."""

    def entries(
        self, *, filter: Filter | None, after: str, limit: int, bytes_max: int, parts: Parts
    ) -> Page:
        """Return up to ``limit`` entries with ids after ``after``, by id.

        Their ``Entry.size`` sums to at most ``bytes_max``, unless the first alone exceeds it.
        """

    def images(self, ids: Sequence[str], column: Literal["image", "thumbnail"]) -> dict[str, bytes]:
        """Map id to image or thumbnail for the given ids; ids without one are absent."""

    def contents(self) -> AbstractContextManager[Contents]:
        """Return everything stored at this moment, to be read while others write."""

    def audit_events(self, first: int, limit: int) -> AuditPage:
        """Return up to ``limit`` audit events from number ``first`` on. Raises BadAuditLog."""

    def recall(self, request: Request) -> list[str] | None:
        """Return the ids that this request was answered with before, or None if it is new."""

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        """Return the stored batches of an import, in order. Raises RequestReused, RequestErased."""

    def fail_unfinished(self) -> None:
        """Mark running operations as failed because of a restart, except unlearn operations."""

    def unfinished(self) -> list[Operation]:
        """Return running operations, oldest first."""

    def operation(self, name: str) -> Operation:
        """Return one operation. Raises UnknownOperation."""

    def operations(self, *, before: str, limit: int) -> list[Operation]:
        """Return up to ``limit`` operations, newest first, whose names sort below ``before``.

        Their results are not loaded. An empty ``before`` starts at the newest.
        """

    def ids_to_unlearn(self, operation: str) -> list[str]:
        """Return the ids that an operation still has to erase, ascending."""

    def sought(self, ids: Sequence[str]) -> Sought:
        """Return the ``ids`` that are stored, in a form to be searched for in any memory."""

    def holds(self, sought: Sought, *, without: Sequence[str] = ()) -> bool:
        """Return True if any entry is one of ``sought``, or has the same content as one of them.

        Entries are compared by id only if this is the memory of ``sought`` or a copy of it. Entries
        with ids in ``without`` do not count.
        """

    def backups(self) -> list[int]:
        """Return the times of backups, in microseconds since 1970."""

    def settings(self) -> dict[str, str]:
        """Return the memory's settings by name."""

    def pictures(self, after: int, limit: int) -> list[Picture]:
        """Return the stored pictures of up to ``limit`` entries with keys above ``after``."""

    def without_picture(self, limit: int) -> tuple[list[str], int]:
        """Return ``limit`` ids of entries without a stored picture, and how many there are."""

    def derived(self, name: str) -> bytes | None:
        """Return the derived data stored as ``name``, or None if they are missing or damaged."""

    def derived_sizes(self, prefix: str) -> dict[str, int]:
        """Map the names of derived data that begin with ``prefix`` to their bytes, newest first."""

    def keep_derived(self, name: str, value: bytes) -> None:
        """Store data that can be computed again, unless it has more than ``derived_bytes_max``.

        Only one thread at a time may call this.
        """

    def drop_derived(self, names: Iterable[str]) -> None:
        """Delete derived data of these ``names``. Only one thread at a time may call this."""

    def close(self) -> None:
        """Release the store; no other method may be called afterwards."""
