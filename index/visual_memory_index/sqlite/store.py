"""The store of one memory in one SQLite file."""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.errors import BadAuditLog, CorruptStore
from visual_memory_index.files.checksums import ENTRIES
from visual_memory_index.files.damage import NotAsWritten
from visual_memory_index.files.database import Database
from visual_memory_index.files.migrations import MEMORY_STEPS
from visual_memory_index.ledger import audit
from visual_memory_index.ledger import digest as digests
from visual_memory_index.ledger.standing import OnStanding, Standing
from visual_memory_index.records.entry import CodedEntries, Entry, Parts, VotingEntries
from visual_memory_index.records.filter import Comparison, Filter
from visual_memory_index.records.operation import Operation
from visual_memory_index.records.request import LOCAL, Request, StoredBatch
from visual_memory_index.sqlite import codes, pairs, same_content
from visual_memory_index.sqlite.backup import backup_times
from visual_memory_index.sqlite.contents import SqliteContents
from visual_memory_index.sqlite.entries import (
    ROWS,
    check_row,
    keys_text,
    read_entries,
    read_ids,
    read_standing,
    read_vectors,
    share_of_all,
    to_matrix,
    to_numbers,
    voting,
)
from visual_memory_index.sqlite.filter_sql import to_sql
from visual_memory_index.sqlite.operations import SqliteOperations
from visual_memory_index.sqlite.requests import SqliteRequests
from visual_memory_index.sqlite.retained import retained_bytes
from visual_memory_index.sqlite.transaction import SqliteTransaction
from visual_memory_index.sqlite.unlearn import SqliteUnlearning
from visual_memory_index.store.store import AuditPage, Identity, Page, Picture, Sought

LOADED_AT_ONCE, CODED_AT_ONCE = 1024, 8192
LAST_CHARACTER = chr(sys.maxunicode)
MANY_MISSING = 0.5  # of the codes of a part: of fewer the vectors between would be read in vain
SHA256_BYTES = 32


class SqliteStore:
    """A ``Store`` and its ``StoredFiles`` at ``path``. Opening raises CorruptStore, NewerStore.

    ``committed`` is called with the audit log position after each transaction.
    """

    derived_bytes_max = 900_000_000  # SQLite takes a billion

    def __init__(self, path: Path, committed: OnStanding = lambda standing: None) -> None:
        self.path = path
        self._committed = committed
        self.database = Database(path, MEMORY_STEPS, check_digest)
        self.bytes_on_disk = self.database.bytes_on_disk
        self.descriptors = self.database.descriptors
        self.truncate_log = self.database.truncate_log
        self.rewrite = self.database.rewrite
        self.renew_connections = self.database.renew_connections
        self.close = self.database.close

    @classmethod
    def create(
        cls,
        path: Path,
        identity: Identity,
        committed: OnStanding = lambda standing: None,
        principal: str = LOCAL,
    ) -> SqliteStore:
        """Make a new file without entries; the audit log names the ``principal``."""
        store = cls(path, committed)
        try:
            with store.database.transaction() as db:
                db.execute(
                    "INSERT INTO memory "
                    "(name, dimension, embedder, created_at, store_images, uid, digest, revision, "
                    "next_key) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 1)",
                    (*astuple(identity), digests.to_bytes(digests.empty())),
                )
                transaction = SqliteTransaction(db, path, identity.kind)
                transaction.log("CreateMemory", 0, principal)
                transaction.finish()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def version(self) -> int:
        return self.database.version

    @cached_property
    def _kind(self) -> str:
        return self.identity().kind

    def identity(self) -> Identity:
        with self.database.reading() as db:
            row = db.execute(
                "SELECT name, dimension, embedder, created_at, store_images, uid FROM memory"
            ).fetchone()
        if row is None:
            raise CorruptStore(self.path, "it holds no memory")
        name, dimension, embedder, created_at, store_images, uid = row
        return Identity(name, dimension, embedder, created_at, bool(store_images), uid)

    def complete(self) -> None:
        """Add the uid and the digest that a file of an older release lacks, after a check."""
        with self.database.reading() as db:
            if db.execute("SELECT 1 FROM memory WHERE digest IS NULL").fetchone() is None:
                return
        self.check()
        kind = self._kind
        with self.database.transaction() as db:
            share = share_of_all(db)
            db.execute(
                "UPDATE memory SET uid = ?, digest = ?",
                (secrets.token_hex(16), digests.to_bytes(share.state)),
            )
            transaction = SqliteTransaction(db, self.path, kind)
            transaction.log("MigrateMemory", share.size, LOCAL)
            transaction.finish()

    def check(self) -> None:
        self.database.check()
        with self.database.reading() as db:
            pairs.check(db)

    def digest(self) -> str:
        with self.database.reading() as db:
            state, _ = read_standing(db)
        return digests.shown(state, self._kind)

    def audit_events(self, first: int, limit: int) -> AuditPage:
        with self.database.reading() as db:
            state, head = read_standing(db)
            end = min(first + limit + bool(limit), head.size)  # the next one has its hash
            rows = db.execute(
                "SELECT event FROM audit WHERE number >= ? AND number < ? ORDER BY number",
                (first, end),
            )
            events = audit.linked((text for (text,) in rows), first, head)
        if first + len(events) < end:
            raise BadAuditLog(f"event {first + len(events)} is missing")
        return AuditPage(events[:limit], head, digests.shown(state, self._kind))

    @contextmanager
    def contents(self) -> Iterator[SqliteContents]:
        with self.database.reading() as db:
            yield SqliteContents(db, self.path, *read_standing(db))

    def unfinished(self) -> list[Operation]:
        with self.database.reading() as db:
            return SqliteOperations(db).unfinished()

    def ids_to_unlearn(self, operation: str) -> list[str]:
        with self.database.reading() as db:
            return SqliteUnlearning(db).ids_to_unlearn(operation)

    def found_in(self, patterns: ResiduePatterns) -> frozenset[bytes]:
        found: set[bytes] = set()
        with self.database.own_connection() as db:
            for part in retained_bytes(db):
                found |= patterns.found_in(part)
        return frozenset(found)

    def sought(self, ids: Sequence[str]) -> Sought:
        uid = self.identity().uid
        with self.database.own_connection() as db:
            return same_content.sought(db, uid, ids)

    def holds(self, sought: Sought, *, without: Sequence[str] = ()) -> bool:
        uid = self.identity().uid
        with self.database.own_connection() as db:
            return same_content.holds(db, uid, sought, without)

    def backups(self) -> list[int]:
        with self.database.reading() as db:
            return backup_times(db)

    def fail_unfinished(self) -> None:
        with self.database.transaction() as db:
            SqliteOperations(db).fail_unfinished()

    def operation(self, name: str) -> Operation:
        with self.database.reading() as db:
            return SqliteOperations(db).operation(name)

    def operations(self, *, before: str, limit: int) -> list[Operation]:
        with self.database.reading() as db:
            return SqliteOperations(db).page(before=before, limit=limit)

    def settings(self) -> dict[str, str]:
        with self.database.reading() as db:
            return dict(db.execute("SELECT name, value FROM settings").fetchall())

    def pictures(self, after: int, limit: int) -> list[Picture]:
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT key, id, image FROM entries JOIN images USING (key) "
                "WHERE key > ? ORDER BY key LIMIT ?",
                (after, limit),
            )
            return [Picture(*row) for row in rows]

    def without_picture(self, limit: int) -> tuple[list[str], int]:
        lacking = "FROM entries WHERE key NOT IN (SELECT key FROM images)"
        with self.database.reading() as db:
            ids = [
                id for (id,) in db.execute(f"SELECT id {lacking} ORDER BY key LIMIT ?", (limit,))
            ]
            return ids, db.execute(f"SELECT count(*) {lacking}").fetchone()[0]

    def derived(self, name: str) -> bytes | None:
        find = "SELECT value, checksum FROM derived WHERE name = ?"
        try:
            with self.database.reading() as db:
                value, checksum = db.execute(find, (name,)).fetchone() or (None, None)
        except CorruptStore:  # computing it again costs only time
            return None
        return value if isinstance(value, bytes) and checksum_of(name, value) == checksum else None

    def derived_sizes(self, prefix: str) -> dict[str, int]:
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT name, length(value) FROM derived WHERE name >= ?1 AND name < ?1 || ?2 "
                "ORDER BY rowid DESC",
                (prefix, LAST_CHARACTER),
            )
            return dict(rows.fetchall())

    def keep_derived(self, name: str, value: bytes) -> None:
        if len(value) > self.derived_bytes_max:
            return
        with self.database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO derived VALUES (?, ?, ?)",
                (name, checksum_of(name, value), value),
            )

    def drop_derived(self, names: Iterable[str]) -> None:
        with self.database.transaction() as db:
            db.executemany("DELETE FROM derived WHERE name = ?", [(name,) for name in names])

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        """Yield a transaction: all or nothing, and on disk when it ends.

        Only one thread at a time may be in one.
        """
        with self.database.transaction() as db:
            transaction = SqliteTransaction(db, self.path, self._kind)
            yield transaction
            transaction.finish()
        with suppress(MemoryError):  # what is committed is done
            self._committed(Standing.of(transaction.head))

    def entry_count(self) -> int:
        most = self.database.bytes_on_disk() // (SHA256_BYTES + 4 * self.identity().dimension)
        with self.database.reading() as db:
            found = db.execute("SELECT count FROM sums WHERE name = ?", (ENTRIES,)).fetchone()
        return min(max(0, *found or (0,)), most)

    def rows(self, dimension: int) -> Iterator[tuple[int, VotingEntries]]:
        with self.database.reading() as db:
            revision: int = db.execute("SELECT revision FROM memory").fetchone()[0]
            ahead = [
                self.database.read_ahead(db, "entries", 0),
                self.database.read_ahead(db, "vectors", 4 * dimension),
            ]
            cursor = db.execute(f"{ROWS} WHERE pruned_by IS NULL ORDER BY key")
            while rows := cursor.fetchmany(LOADED_AT_ONCE):
                for each in ahead:
                    each.go_on(rows[-1][0])
                yield revision, voting(rows, dimension, self.path)
            yield revision, voting([], dimension, self.path)

    def coded_rows(
        self, dimension: int, encode: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
    ) -> Iterator[tuple[int, CodedEntries]]:
        size = encode(np.empty((0, dimension), np.float32)).shape[1]
        with self.database.reading() as db:
            revision: int = db.execute("SELECT revision FROM memory").fetchone()[0]
            ahead = [
                self.database.read_ahead(db, "entries", 0),
                self.database.read_ahead(db, "codes", size),
            ]
            vectors_ahead = self.database.read_ahead(db, "vectors", 4 * dimension)
            after = 0
            while len((entries := codes.read(db, after, CODED_AT_ONCE, size)).keys):
                after = int(entries.keys[-1])
                for each in ahead:
                    each.go_on(after)
                if len(missing := entries.keys[~entries.stored]):
                    if len(missing) > MANY_MISSING * len(entries.keys):
                        vectors_ahead.go_on(int(missing[0]) - 1)
                    whole = entries.codes.copy()
                    made = map(encode, self._vectors_of(db, missing, dimension))
                    whole[~entries.stored] = np.concatenate([*made])
                    entries = entries._replace(codes=whole)
                yield revision, entries
            yield revision, entries

    def _vectors_of(
        self, db: sqlite3.Connection, keys: NDArray[np.int64], dimension: int
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors of entries that were listed, in parts."""
        for start in range(0, len(keys), LOADED_AT_ONCE):
            part = keys[start : start + LOADED_AT_ONCE]
            found, vectors = self._vectors(db, part, dimension)
            if not np.array_equal(found, part):
                raise CorruptStore(self.path, "an entry is there that its key does not find")
            yield vectors

    def keep_codes(self, keys: NDArray[np.int64], made: NDArray[np.uint8]) -> None:
        with self.database.transaction() as db:
            codes.keep(db, keys, made)

    def pruned(self) -> list[tuple[int, str, str]]:
        with self.database.reading() as db:
            found = []
            for row in db.execute(f"{ROWS} WHERE pruned_by IS NOT NULL"):
                check_row(row)
                found.append(row[:3])
            return found

    def vectors(
        self, keys: NDArray[np.int64], dimension: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        with self.database.reading() as db:
            return self._vectors(db, keys, dimension)

    def _vectors(
        self, db: sqlite3.Connection, keys: NDArray[np.int64], dimension: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = list(read_vectors(db, keys))
        found = np.array([key for key, _ in rows], np.int64)
        vectors = to_matrix([vector for _, vector in rows], dimension, self.path)
        return found, vectors.astype(np.float32, copy=False)

    def keys(self, filter: Filter) -> tuple[int, NDArray[np.int64]]:
        with self.database.reading() as db:
            revision: int = db.execute("SELECT revision FROM memory").fetchone()[0]
            if isinstance(filter, Comparison) and filter.field == "metadata":
                found = pairs.keys_text(db, filter)
            else:
                found = keys_text(db, filter)
        return revision, to_numbers(found)

    def ids(self, filter: Filter) -> list[str]:
        with self.database.reading() as db:
            return read_ids(db, filter)

    def metadata_values(self, key: str) -> dict[str, str]:
        query = (
            "SELECT entries.id, pair.value FROM entries, json_each(entries.metadata) AS pair "
            "WHERE pair.key = ?"
        )
        with self.database.reading() as db:
            return dict(db.execute(query, (key,)).fetchall())

    def has_metadata(self, key: str) -> bool:
        with self.database.reading() as db:
            return pairs.vote(db, key)

    def entries(
        self, *, filter: Filter | None, after: str, limit: int, bytes_max: int, parts: Parts
    ) -> Page:
        condition, parameters = to_sql(filter)
        page: list[Entry] = []
        with self.database.reading() as db:
            for entry in read_entries(
                db,
                f"id > ? AND ({condition}) ORDER BY id",
                [after, *parameters],
                limit=limit + 1,
                parts=parts,
            ):
                bytes_max -= entry.size
                if page and (bytes_max < 0 or len(page) == limit):
                    return Page(page, more=True)
                page.append(entry)
        return Page(page, more=False)

    def entry(self, id: str, parts: Parts = Parts.NONE) -> Entry | None:
        with self.database.reading() as db:
            return next(read_entries(db, "id = ?", [id], limit=1, parts=parts), None)

    def images(self, ids: Sequence[str], column: Literal["image", "thumbnail"]) -> dict[str, bytes]:
        condition = "id IN (SELECT value FROM json_each(?))"
        with self.database.reading() as db:
            entries = read_entries(
                db, condition, [json.dumps(list(ids))], limit=-1, parts=Parts[column.upper()]
            )
            found = {entry.id: getattr(entry, column) for entry in entries}
        return {id: picture for id, picture in found.items() if picture}

    def recall(self, request: Request) -> list[str] | None:
        with self.database.reading() as db:
            answer: list[str] | None = SqliteRequests(db).recall(request)
        return answer

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        with self.database.reading() as db:
            return SqliteRequests(db).stored_batches(request_id)


def checksum_of(name: str, value: bytes) -> int:
    """Return CRC-32 of the name and value of derived data, see ``Store.keep_derived``."""
    return crc32(value, crc32(name.encode()))


def check_digest(db: sqlite3.Connection) -> None:
    """Compare all entries with the digest, if the file has one, and make the pairs of them.

    A migration calls it, since the migration computes checksums from these entries. Raises
    NotAsWritten.
    """
    known = db.execute("SELECT digest FROM memory WHERE digest NOT NULL").fetchone()
    if known and not np.array_equal(share_of_all(db).state, digests.from_bytes(known[0])):
        raise NotAsWritten("its entries are not those of its digest")
    pairs.fill(db)
