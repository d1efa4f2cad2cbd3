"""One named memory: its store, the copy in RAM, one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.database import now
from visual_memory_index.entry import Entry, IdMaker
from visual_memory_index.errors import (
    EntriesExist,
    MemoryClosed,
    UnknownEntries,
    WrongDimension,
)
from visual_memory_index.filter import Filter
from visual_memory_index.lock import ReadWriteLock
from visual_memory_index.neighbors import Neighbors, Query
from visual_memory_index.ram import RamCopy
from visual_memory_index.request import Request, StoredBatch
from visual_memory_index.store import Identity, Store, Transaction
from visual_memory_index.vectors import SCANNED_MAX, SLACK, Rows


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """A memory as it stands: entries in all and of each label, and its size on disk."""

    identity: Identity
    count: int
    label_counts: Mapping[str, int]
    bytes_on_disk: int


class Memory:
    """Writes reach the disk first and the readers next; a reader sees all of a batch or none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.path = store.path
        self.identity = store.identity()
        self._ids = IdMaker()
        self._writing = threading.Lock()
        self._lock = ReadWriteLock()
        self._closed = False
        self._next_key = 1
        self._load()

    @classmethod
    def open(cls, path: Path) -> Memory:
        """Read the file at ``path``. Raises CorruptStore, NewerStore."""
        store = Store(path)
        try:
            return cls(store)
        except BaseException:
            store.close()
            raise

    @classmethod
    def create(cls, path: Path, identity: Identity) -> Memory:
        """A new memory in a new file. Raises DiskFull."""
        return cls(Store.create(path, identity))

    def close(self) -> None:
        """Wait for the writer and the readers, then let go of the file."""
        with self._writing, self._lock.writing():
            if not self._closed:
                self._closed = True
                self._store.close()

    @property
    def count(self) -> int:
        """Entries that a search can find now."""
        return len(self._ram)

    def info(self) -> MemoryInfo:
        """Counts and sizes."""
        with self._lock.reading():
            self._check_open()
            counts = dict(sorted(self._ram.label_counts.items()))
            return MemoryInfo(self.identity, len(self._ram), counts, self._store.bytes_on_disk())

    def check_dimension(self, vectors: NDArray[np.float32]) -> None:
        """Raises WrongDimension."""
        if vectors.shape[1] != self.identity.dimension:
            raise WrongDimension(vectors.shape[1], self.identity.dimension)

    def recall(self, request: Request | None) -> list[str] | None:
        """The ids of this write where it was done before, else None. Raises RequestReused."""
        if request is None:
            return None
        with self._lock.reading():
            self._check_open()
            return self._store.recall(request)

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        """The stored batches of an import, in order. Raises RequestReused."""
        with self._lock.reading():
            self._check_open()
            return self._store.stored_batches(request_id)

    def insert(
        self,
        entries: Sequence[Entry],
        vectors: NDArray[np.float32],
        *,
        request: Request | None = None,
        replace_existing: bool = False,
    ) -> list[str]:
        """Remember all ``entries`` with unit ``vectors`` (b, d), or none; answers their ids.

        An empty id is made here. A repeated request answers as before and stores nothing.
        Raises EntriesExist, WrongDimension, RequestReused, WrongOffset, DiskFull.
        """
        self.check_dimension(vectors)
        with self._writing:
            self._check_open()
            ids = [entry.id or self._ids.make() for entry in entries]
            keys = range(self._next_key, self._next_key + len(entries))
            with self._store.transaction() as transaction:
                if (answered := transaction.recall(request)) is not None:
                    return answered
                transaction.check_start(request)
                existing = [id for id in ids if id in self._ram]
                if existing and not replace_existing:
                    raise EntriesExist(existing)
                transaction.delete(self._ram.keys(existing))
                transaction.insert(keys, ids, entries, vectors, now())
                transaction.keep(request, ids)
                revision = transaction.next_revision()
                self._ram.stage(keys, ids, [entry.label for entry in entries], vectors)
                self._next_key = keys.stop
            with self._published(revision):
                self._ram.publish(len(entries), replaced=existing)
            return ids

    def delete(
        self, ids: Sequence[str], *, allow_missing: bool = False, request: Request | None = None
    ) -> list[str]:
        """Forget these entries; answers the ids that were there.

        Raises UnknownEntries, unless ``allow_missing``, RequestReused, DiskFull.
        """
        with self._writing:
            self._check_open()
            with self._store.transaction() as transaction:
                if (answered := transaction.recall(request)) is not None:
                    return answered
                ids = list(dict.fromkeys(ids))
                unknown = [id for id in ids if id not in self._ram]
                if unknown and not allow_missing:
                    raise UnknownEntries(unknown)
                known = [id for id in ids if id in self._ram]
                revision = self._forget(transaction, known, request)
            with self._published(revision):
                self._ram.remove(known)
            return known

    def purge(self, filter: Filter, *, request: Request | None = None) -> list[str]:
        """Forget what ``filter`` admits; answers the ids, ascending. Raises RequestReused."""
        with self._writing:
            self._check_open()
            with self._store.transaction() as transaction:
                if (answered := transaction.recall(request)) is not None:
                    return answered
                ids = transaction.ids(filter)
                revision = self._forget(transaction, ids, request)
            with self._published(revision):
                self._ram.remove(ids)
            return ids

    def would_purge(self, filter: Filter) -> list[str]:
        """The ids that ``purge`` would forget now."""
        with self._lock.reading():
            self._check_open()
            return self._store.ids(filter)

    def update(
        self,
        id: str,
        *,
        label: str | None = None,
        metadata: Mapping[str, str] | None = None,
        request: Request | None = None,
    ) -> Entry:
        """Set label, metadata or both of one entry; answers the entry without its vector.

        Raises UnknownEntries, RequestReused, DiskFull.
        """
        with self._writing:
            self._check_open()
            with self._store.transaction() as transaction:
                if (answered := transaction.recall_entry(request)) is not None:
                    return answered
                entry = transaction.entry(id)
                if entry is None:
                    raise UnknownEntries([id])
                changed = replace(
                    entry,
                    label=entry.label if label is None else label,
                    metadata=entry.metadata if metadata is None else metadata,
                )
                transaction.update(self._ram.keys([id])[0], changed)
                transaction.keep_entry(request, changed)
                revision = transaction.next_revision()
            with self._published(revision):
                self._ram.relabel(id, changed.label)
            return changed

    def entry(self, id: str, *, with_vector: bool = False) -> Entry:
        """One entry. Raises UnknownEntries."""
        with self._lock.reading():
            self._check_open()
            entry = self._store.entry(id, with_vector=with_vector)
        if entry is None:
            raise UnknownEntries([id])
        return entry

    def entries(
        self,
        *,
        filter: Filter | None = None,
        after: str = "",
        limit: int,
        with_vectors: bool = False,
    ) -> list[Entry]:
        """Up to ``limit`` entries with ids beyond ``after``, by id in byte order."""
        with self._lock.reading():
            self._check_open()
            return self._store.entries(
                filter=filter, after=after, limit=limit, with_vectors=with_vectors
            )

    def nearest(self, queries: Sequence[Query]) -> list[Neighbors]:
        """For each query the k nearest entries it admits; fewer where fewer are there.

        The queries without a filter are searched together. Raises MemoryClosed.
        """
        while True:
            with self._lock.reading():
                self._check_open()
                admitted = [self._admitted(query) for query in queries]
                if all(revision == self._ram.revision for revision, _ in admitted):
                    return self._search(queries, [rows for _, rows in admitted])

    def _admitted(self, query: Query) -> tuple[int, Rows | None]:
        """The rows that a query's filter leaves, None for all, and the revision it was read at.

        A commit that is not yet published makes the two differ; the caller reads again.
        """
        left_out = self._ram.rows_of_ids(query.exclude_ids)
        if query.filter is None and query.k + len(left_out) + SLACK <= SCANNED_MAX:
            return self._ram.revision, None
        if query.filter is None:
            revision, rows = self._ram.revision, np.arange(len(self._ram))
        else:
            revision, keys = self._store.keys(query.filter)
            rows = self._ram.rows_of_keys(keys)
        return revision, np.setdiff1d(rows, left_out, assume_unique=True)

    def _search(self, queries: Sequence[Query], admitted: Sequence[Rows | None]) -> list[Neighbors]:
        ram = self._ram
        everyone = [query for query, rows in zip(queries, admitted, strict=True) if rows is None]
        together = iter(
            ram.vectors.candidates(
                np.concatenate([query.vectors for query in everyone]),
                [query.k for query in everyone for _ in query.vectors],
                [ram.rows_of_ids(query.exclude_ids) for query in everyone for _ in query.vectors],
            )
            if everyone
            else ()
        )
        answers = []
        for query, rows in zip(queries, admitted, strict=True):
            if rows is None:
                candidates = [next(together) for _ in query.vectors]
            else:
                candidates = ram.vectors.candidates_among(query.vectors, query.k, rows)
            answers.append(ram.neighbors(query.vectors, query.k, candidates))
        return answers

    def _forget(self, transaction: Transaction, ids: Sequence[str], request: Request | None) -> int:
        transaction.delete(self._ram.keys(ids))
        transaction.keep(request, ids)
        return transaction.next_revision()

    @contextmanager
    def _published(self, revision: int) -> Iterator[None]:
        """Let readers see what was committed; where that fails, read it all from the store."""
        with self._lock.writing():
            try:
                yield
                self._ram.revision = revision
            except BaseException:
                self._load()
                raise

    def _load(self) -> None:
        self._ram = RamCopy(self.identity.dimension)
        self._next_key = 1
        for keys, ids, labels, vectors, revision in self._store.rows(self.identity.dimension):
            self._ram.stage(keys, ids, labels, vectors)
            self._ram.publish(len(keys))
            self._ram.revision = revision
            self._next_key = max([self._next_key, *(key + 1 for key in keys[-1:])])

    def _check_open(self) -> None:
        if self._closed:
            raise MemoryClosed(self.identity.name)
