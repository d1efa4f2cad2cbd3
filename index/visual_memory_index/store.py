"""The truth of one memory: its entries in one SQLite file."""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import audit, erasing
from visual_memory_index import digest as digests
from visual_memory_index import operation as operations
from visual_memory_index import request as requests
from visual_memory_index.audit import LOCAL, Event, Head
from visual_memory_index.contents import Contents
from visual_memory_index.database import Database, now
from visual_memory_index.digest import State as DigestState
from visual_memory_index.entry import Entry, Parts
from visual_memory_index.errors import CorruptStore, EntriesExist
from visual_memory_index.filter import Filter, to_sql
from visual_memory_index.migrations import MEMORY_STEPS
from visual_memory_index.operation import Operation, State
from visual_memory_index.request import Request, StoredBatch
from visual_memory_index.traces import Traces

ROWS_AT_ONCE = 4096
DERIVED_BYTES_MAX = 900_000_000  # SQLite takes a billion
ENTRY_BYTES, UTF8_BYTES = 200, 4  # beside its texts, with all lengths; of a character at most
PART_COLUMNS = (
    (Parts.VECTOR, "vectors", "vector"),
    (Parts.IMAGE, "images", "image"),
    (Parts.THUMBNAIL, "images", "thumbnail"),
)
ROWS = "SELECT key, id, label, vector FROM entries JOIN vectors USING (key)"
ERASED_AT_ONCE = 256
LEFT = (
    "SELECT label, metadata, content_sha256, vector, coalesce(image, x''), "
    "coalesce(thumbnail, x'') "
    "FROM entries JOIN vectors USING (key) LEFT JOIN images USING (key) "
    "WHERE key IN (SELECT value FROM json_each(?))"
)
# Whether a text, or a piece of a vector or picture, is that of an entry that is there.
LIVE = (
    "SELECT EXISTS (SELECT 1 FROM entries WHERE instr(CAST(id AS BLOB), ?1) "
    "OR instr(CAST(label AS BLOB), ?1) OR instr(CAST(metadata AS BLOB), ?1)) "
    "OR EXISTS (SELECT 1 FROM vectors WHERE instr(vector, ?1)) "
    "OR EXISTS (SELECT 1 FROM images WHERE instr(image, ?1) OR instr(thumbnail, ?1))"
)
PARTS = (
    "SELECT CAST(id AS BLOB), CAST(label AS BLOB), CAST(metadata AS BLOB), vector, "
    "ifnull(image, x''), ifnull(thumbnail, x'') "
    "FROM entries JOIN vectors USING (key) LEFT JOIN images USING (key)"
)
ROWS_AT_ONCE, BETWEEN = 64, bytes(64)
ELEMENTS = (
    "SELECT id, label, metadata, vector, iif(images.key IS NULL, x'', content_sha256), "
    "pruned_by IS NULL FROM entries JOIN vectors USING (key) LEFT JOIN images USING (key)"
)
METADATA_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


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


def stored_rows(
    rows: Sequence[tuple[int, str, str, bytes]], dimension: int, revision: int, path: Path
) -> StoredRows:
    """What was read by ``ROWS``. Raises CorruptStore."""
    keys, ids, labels, blobs = zip(*rows, strict=True) if rows else ((), (), (), ())
    if any(len(blob) != 4 * dimension for blob in blobs):
        raise CorruptStore(str(path), "a vector has another length than the rest")
    vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, dimension)
    return StoredRows(keys, ids, labels, vectors.astype(np.float32, copy=False), revision)


def where(filter: Filter | None) -> tuple[str, list[str | int]]:
    """A filter as an SQL condition with its parameters."""
    return to_sql(filter) if filter else ("TRUE", [])


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


class Transaction:
    """The writes that can be done inside one transaction."""

    def __init__(self, db: sqlite3.Connection, path: Path, kind: str) -> None:
        self._db, self._path, self._kind = db, path, kind
        self.state, self.head = read_standing(db)
        self._size = self.head.size

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Do what is inside, or nothing of it where it raises."""
        stood = self.state, self.head
        self._db.execute("SAVEPOINT inside")
        try:
            yield
        except sqlite3.Error:
            raise  # the whole transaction is lost
        except BaseException:
            self.state, self.head = stood
            self._db.execute("ROLLBACK TO inside")
            self._db.execute("RELEASE inside")
            raise
        self._db.execute("RELEASE inside")

    def finish(self) -> None:
        """Write where the digest and the audit log stand."""
        if self.head.size != self._size:
            self._db.execute(
                "UPDATE memory SET digest = ?, audit_size = ?, audit_peaks = ?, audit_last = ?",
                (digests.to_bytes(self.state), *astuple(self.head)),
            )

    def log(self, call: str, count: int) -> Event:
        """Note what was done to the memory."""
        event = Event(self.head.size, now(), LOCAL, call, count, self.digest(), self.head.last)
        text = event.to_json()
        self._db.execute("INSERT INTO audit VALUES (?, ?)", (event.number, text))
        self.head = self.head.follow(text)
        return event

    def digest(self) -> str:
        """The digest as it stands now."""
        return digests.shown(self.state, self._kind)

    def count(self) -> int:
        """How many entries there are."""
        count: int = self._db.execute("SELECT count(*) FROM entries").fetchone()[0]
        return count

    def look_up(self, ids: Iterable[str]) -> dict[str, Known]:
        """Those of ``ids`` that are stored, in the order in which they were given."""
        ids = list(dict.fromkeys(ids))
        rows = self._db.execute(
            "SELECT id, key, label, pruned_by IS NULL FROM entries "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
        found = {id: Known(key, label, bool(votes)) for id, key, label, votes in rows}
        return {id: found[id] for id in ids if id in found}

    def recall(self, request: Request | None) -> list[str] | None:
        """The ids that this request was answered with before, or None. Raises RequestReused."""
        return recall(self._db, request)

    def keep(self, request: Request | None, ids: Sequence[str]) -> None:
        """Remember what the request is answered with."""
        requests.keep(self._db, request, ids)

    def recall_entry(self, request: Request | None) -> Entry | None:
        """The entry that an update was answered with before, or None. Raises RequestReused."""
        answer = requests.recall(self._db, request)
        if answer is None:
            return None
        return Entry(**{**answer, "content_sha256": bytes.fromhex(answer["content_sha256"])})

    def keep_entry(self, request: Request | None, entry: Entry) -> None:
        """Remember the entry that the update is answered with."""
        answer = {
            "id": entry.id,
            "label": entry.label,
            "metadata": dict(entry.metadata),
            "created_at": entry.created_at,
            "content_sha256": entry.content_sha256.hex(),
            "pruned_by": entry.pruned_by,
        }
        requests.keep(self._db, request, answer)

    def check_start(self, request: Request | None) -> None:
        """Raises WrongOffset."""
        requests.check_start(self._db, request)

    def next_revision(self) -> int:
        """Count this change of the entries."""
        statement = "UPDATE memory SET revision = revision + 1 RETURNING revision"
        revision: int = self._db.execute(statement).fetchone()[0]
        return revision

    def next_keys(self, count: int) -> range:
        """Keys that no entry ever had."""
        statement = "UPDATE memory SET next_key = next_key + ? RETURNING next_key"
        end: int = self._db.execute(statement, (count,)).fetchone()[0]
        return range(end - count, end)

    def insert(
        self,
        keys: range,
        ids: Sequence[str],
        entries: Sequence[Entry],
        vectors: NDArray[np.float32],
        created_at: int,
        elements: Sequence[bytes],
    ) -> None:
        """Add ``entries`` with ``vectors`` (b, d) under new ``ids`` and ``keys``.

        The ids, times and vectors in ``entries`` are not read; ``elements`` are what they are in
        the digest. Raises EntriesExist.
        """
        inserted = self._db.executemany(
            "INSERT INTO entries (key, id, label, metadata, created_at, content_sha256) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            [
                (key, id, entry.label, to_json(entry), created_at, entry.content_sha256)
                for key, id, entry in zip(keys, ids, entries, strict=True)
            ],
        )
        if inserted.rowcount < len(ids):
            known = self.look_up(ids).items()
            raise EntriesExist([id for id, each in known if each.key < keys.start])
        self.state = digests.moved(self.state, came=elements)
        # In one step, during which other threads of Python go on.
        self._db.execute(
            "INSERT INTO vectors SELECT key, substr(?1, 1 + (key - ?2) * ?3, ?3) "
            "FROM entries WHERE key >= ?2",
            (np.ascontiguousarray(vectors, "<f4").data, keys.start, 4 * vectors.shape[1]),
        )
        self._db.executemany(
            "INSERT INTO images (key, thumbnail, image) VALUES (?, ?, ?)",
            [
                (key, entry.thumbnail, entry.image)
                for key, entry in zip(keys, entries, strict=True)
                if entry.image
            ],
        )

    def delete(self, keys: Sequence[int]) -> None:
        """Drop these rows; secure_delete overwrites them."""
        with self._changing(keys):
            self._db.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])

    def update(self, key: int, entry: Entry) -> None:
        """Set label and metadata of one row."""
        with self._changing([key]):
            self._db.execute(
                "UPDATE entries SET relabelled_by = iif(label = ?1, relabelled_by, NULL), "
                "label = ?1, metadata = ?2 WHERE key = ?3",
                (entry.label, to_json(entry), key),
            )

    def begin(self, name: str, kind: str) -> None:
        """Note an operation that runs."""
        operations.begin(self._db, name, kind)

    def end(
        self, name: str, state: State, *, result: str | None = None, problem: str | None = None
    ) -> None:
        """Note how an operation ended."""
        operations.end(self._db, name, state, result=result, problem=problem)
        erasing.drop(self._db, name)

    def operation(self, name: str) -> Operation:
        """Raises UnknownOperation."""
        return operations.get(self._db, name)

    def draft(self, name: str, result: str) -> None:
        """Keep what is known of the result of an operation that runs."""
        operations.draft(self._db, name, result)

    def note_erasing(self, operation: str, ids: Iterable[str]) -> None:
        """Keep the ids that an operation has to erase."""
        erasing.note(self._db, operation, ids)

    def erasing(self, operation: str) -> list[str]:
        """The ids that it has still to erase."""
        return erasing.noted(self._db, operation)

    def left(self, keys: Sequence[int], limit_bytes: int) -> Left:
        """What these entries are made of, as far as ``limit_bytes`` go."""
        left = Left()
        for start in range(0, len(keys), ERASED_AT_ONCE):
            part = json.dumps(list(keys[start : start + ERASED_AT_ONCE]))
            rows = self._db.execute(LEFT, (part,))
            for label, metadata, content_sha256, vector, image, thumbnail in rows:
                left.labels.add(label)
                limit_bytes -= len(vector) + len(image) + len(thumbnail)
                if limit_bytes < 0:
                    continue
                for key, value in json.loads(metadata).items():
                    left.texts.update((key, value))
                pictures = [each for each in (image, thumbnail) if each]
                left.contents.append((content_sha256, vector, pictures))
        return left

    def twins(self, hashes: Iterable[bytes]) -> set[bytes]:
        """Those hashes that entries have whose content is the same."""
        rows = self._db.execute(
            "SELECT DISTINCT content_sha256 FROM entries "
            "WHERE hex(content_sha256) IN (SELECT value FROM json_each(?))",
            (json.dumps([each.hex().upper() for each in hashes if each]),),
        )
        return {content_sha256 for (content_sha256,) in rows}

    def others(self, keys: Sequence[int], limit: int) -> list[bytes]:
        """Some pictures and thumbnails of entries but these."""
        rows = self._db.execute(
            "SELECT thumbnail, image FROM images "
            "WHERE key NOT IN (SELECT value FROM json_each(?)) LIMIT ?",
            (json.dumps(list(keys)), limit),
        )
        return [each for row in rows for each in row]

    def scrub(self, operation: str, labels: Iterable[str], settings: Iterable[str]) -> list[str]:
        """Drop what else names the entries that were erased; those of ``labels`` that are gone."""
        labels = set(labels)
        rows = self._db.execute(
            "SELECT DISTINCT label FROM entries WHERE label IN (SELECT value FROM json_each(?))",
            (json.dumps(list(labels)),),
        )
        gone = sorted(labels.difference(label for (label,) in rows))
        erasing.scrub(self._db, operation, gone, settings)
        return gone

    def backups(self) -> list[int]:
        """When backups were made, in microseconds since 1970."""
        rows = self._db.execute(
            "SELECT json_extract(event, '$.time') FROM audit "
            "WHERE json_extract(event, '$.call') = 'BackupMemory'"
        )
        return [time for (time,) in rows]

    def keep_setting(self, name: str, value: str) -> None:
        """Set what belongs to the memory beside its entries."""
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def mark_undone(self, name: str) -> None:
        """Note that what an operation did was taken back."""
        operations.mark_undone(self._db, name)

    def prune(self, keys: Sequence[int], operation: str) -> None:
        """Take the votes of these rows."""
        with self._changing(keys):
            self._db.executemany(
                "UPDATE entries SET pruned_by = ? WHERE key = ?",
                [(operation, key) for key in keys],
            )

    def unprune(self, operation: str, dimension: int) -> StoredRows:
        """Give back the votes that an operation took; whose they are. Raises CorruptStore."""
        rows = self._db.execute(f"{ROWS} WHERE pruned_by = ? ORDER BY key", (operation,)).fetchall()
        with self._changing([row[0] for row in rows]):
            self._db.execute(
                "UPDATE entries SET pruned_by = NULL WHERE pruned_by = ?", (operation,)
            )
        return stored_rows(rows, dimension, self.next_revision(), self._path)

    def relabel(self, labels: Iterable[tuple[int, str]], operation: str) -> None:
        """Set the label of these keys, keeping what they were."""
        pairs = list(labels)
        self._db.executemany(
            "INSERT INTO relabels SELECT ?, key, label, relabelled_by FROM entries WHERE key = ?",
            [(operation, key) for key, _ in pairs],
        )
        with self._changing([key for key, _ in pairs]):
            self._db.executemany(
                "UPDATE entries SET label = ?, relabelled_by = ? WHERE key = ?",
                [(label, operation, key) for key, label in pairs],
            )

    def unrelabel(self, operation: str) -> dict[str, str]:
        """Give back the labels that nothing has set since: they by id.

        Where such a label was set by an operation that was undone meanwhile, that is made up for.
        """
        keys = self._db.execute("SELECT key FROM relabels WHERE operation = ?", (operation,))
        with self._changing([key for (key,) in keys]):
            rows = self._db.execute(
                "UPDATE entries SET label = before.label, relabelled_by = before.relabelled_by "
                "FROM relabels AS before WHERE before.operation = ?1 AND before.key = entries.key "
                "AND entries.relabelled_by = ?1 RETURNING entries.id, entries.label",
                (operation,),
            )
            restored = dict(rows.fetchall())
        undone = self._db.execute(
            "SELECT DISTINCT relabelled_by FROM entries JOIN operations ON name = relabelled_by "
            "WHERE undone_at IS NOT NULL AND name != ?",
            (operation,),
        ).fetchall()
        for (earlier,) in undone:
            restored |= self.unrelabel(earlier)
        return restored

    def entry(self, id: str) -> Entry | None:
        """One entry without its vector, as this transaction sees it."""
        return next(read_entries(self._db, "id = ?", [id], limit=1), None)

    def ids(self, filter: Filter) -> list[str]:
        """The ids that ``filter`` admits, ascending."""
        return read_ids(self._db, filter)

    @contextmanager
    def _changing(self, keys: Sequence[int]) -> Iterator[None]:
        """Move the digest on by what happens inside to the entries of these keys."""
        before = state_of(self._db, keys)
        yield
        self.state = self.state - before + state_of(self._db, keys)


class Store:
    """Reads, and transactions for the one writer. Raises CorruptStore, DiskFull, NewerStore."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, MEMORY_STEPS)
        self.bytes_on_disk = self._database.bytes_on_disk
        self.descriptors = self._database.descriptors
        self.truncate_log = self._database.truncate_log
        self.rewrite = self._database.rewrite
        self.close = self._database.close

    @classmethod
    def create(cls, path: Path, identity: Identity) -> Store:
        """A new file holding no entry."""
        store = cls(path)
        try:
            with store._database.transaction() as db:
                db.execute(
                    "INSERT INTO memory "
                    "(name, dimension, embedder, created_at, store_images, uid, digest, revision, "
                    "next_key) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 1)",
                    (*astuple(identity), digests.to_bytes(digests.empty())),
                )
                transaction = Transaction(db, path, identity.kind)
                transaction.log("CreateMemory", 0)
                transaction.finish()
        except BaseException:
            store.close()
            raise
        return store

    @cached_property
    def _kind(self) -> str:
        return self.identity().kind

    def identity(self) -> Identity:
        """Raises CorruptStore where the file holds no memory."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT name, dimension, embedder, created_at, store_images, uid FROM memory"
            ).fetchone()
        if row is None:
            raise CorruptStore(str(self.path), "it holds no memory")
        name, dimension, embedder, created_at, store_images, uid = row
        return Identity(name, dimension, embedder, created_at, bool(store_images), uid)

    def complete(self) -> None:
        """Find what a file of an older release lacks: its uid and its digest."""
        with self._database.reading() as db:
            lacking = db.execute("SELECT 1 FROM memory WHERE digest IS NULL").fetchone()
        if lacking is None:
            return
        kind = self._kind
        with self._database.transaction() as db:
            keys = [key for (key,) in db.execute("SELECT key FROM entries")]
            db.execute(
                "UPDATE memory SET uid = ?, digest = ?",
                (secrets.token_hex(16), digests.to_bytes(state_of(db, keys))),
            )
            transaction = Transaction(db, self.path, kind)
            transaction.log("MigrateMemory", len(keys))
            transaction.finish()

    def digest(self) -> str:
        """The digest of the entries, lower-case hex."""
        with self._database.reading() as db:
            state, _ = read_standing(db)
        return digests.shown(state, self._kind)

    def audit_events(self, first: int, limit: int) -> AuditPage:
        """Up to ``limit`` events of the audit log from number ``first`` on. Raises BadAuditLog."""
        with self._database.reading() as db:
            state, head = read_standing(db)
            rows = db.execute(
                "SELECT event FROM audit WHERE number >= ? AND number < ? ORDER BY number",
                (first, min(first + limit, head.size)),
            )
            events = [audit.read(text) for (text,) in rows]
        return AuditPage(events, head, digests.shown(state, self._kind))

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        """All that is in the file now, to be read while others write."""
        with self._database.reading() as db:
            yield Contents(db, self.path, *read_standing(db))

    def unfinished(self) -> list[Operation]:
        """Operations that were cut short and go on, the oldest first."""
        with self._database.reading() as db:
            return operations.unfinished(db)

    def erasing(self, operation: str) -> list[str]:
        """The ids that an operation has still to erase, ascending."""
        with self._database.reading() as db:
            return erasing.noted(db, operation)

    def found_in(self, traces: Traces) -> frozenset[bytes]:
        """The pieces of ``traces`` that entries have in them, masked."""
        found: set[bytes] = set()
        with self._database.apart() as db:
            rows = db.execute(PARTS)
            while part := rows.fetchmany(ROWS_AT_ONCE):
                found |= traces.found_in(BETWEEN.join(each for row in part for each in row))
        return frozenset(found)

    def holds(self, data: bytes) -> bool:
        """Whether some entry has these bytes in it: in a text, its vector or its picture."""
        with self._database.apart() as db:
            return bool(db.execute(LIVE, (data,)).fetchone()[0])

    def fail_unfinished(self) -> None:
        """Note of the operations that ran when the file was last open that they were cut short."""
        with self._database.transaction() as db:
            operations.fail_unfinished(db)

    def operation(self, name: str) -> Operation:
        """Raises UnknownOperation."""
        with self._database.reading() as db:
            return operations.get(db, name)

    def operations(self, *, before: str, limit: int) -> list[Operation]:
        """Up to ``limit`` operations, the newest first, from below the name ``before`` on."""
        with self._database.reading() as db:
            return operations.page(db, before=before, limit=limit)

    def settings(self) -> dict[str, str]:
        """What belongs to the memory beside its entries, by name."""
        with self._database.reading() as db:
            return dict(db.execute("SELECT name, value FROM settings").fetchall())

    def derived(self, name: str) -> bytes | None:
        """What was kept under a name."""
        with self._database.reading() as db:
            row = db.execute("SELECT value FROM derived WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def derived_sizes(self, prefix: str) -> dict[str, int]:
        """How much is kept under each name that begins so, the last kept first; it is not read."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT name, length(value) FROM derived WHERE name GLOB ? || '*' "
                "ORDER BY rowid DESC",
                (prefix,),
            )
            return dict(rows.fetchall())

    def keep_derived(self, name: str, value: bytes) -> None:
        """Keep what can be computed again, unless it is too large for SQLite."""
        if len(value) > DERIVED_BYTES_MAX:
            return
        with self._database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO derived VALUES (?, ?)", (name, value))

    def drop_derived(self, names: Iterable[str]) -> None:
        """Let go of what was kept under these names."""
        with self._database.transaction() as db:
            db.executemany("DELETE FROM derived WHERE name = ?", [(name,) for name in names])

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing, and on disk when it ends. One thread at a time."""
        with self._database.transaction() as db:
            transaction = Transaction(db, self.path, self._kind)
            yield transaction
            transaction.finish()

    def rows(self, dimension: int) -> Iterator[StoredRows]:
        """Every row that votes, some thousands at a time, the last time none."""
        with self._database.reading() as db:
            revision: int = db.execute("SELECT revision FROM memory").fetchone()[0]
            cursor = db.execute(f"{ROWS} WHERE pruned_by IS NULL ORDER BY key")
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                yield stored_rows(rows, dimension, revision, self.path)
            yield stored_rows([], dimension, revision, self.path)

    def pruned(self) -> list[tuple[int, str, str]]:
        """Key, id and label of every row that does not vote."""
        with self._database.reading() as db:
            return db.execute(
                "SELECT key, id, label FROM entries WHERE pruned_by IS NOT NULL"
            ).fetchall()

    def keys(self, filter: Filter) -> tuple[int, NDArray[np.int64]]:
        """The revision read, and the keys that ``filter`` admits there."""
        condition, parameters = where(filter)
        with self._database.reading() as db:
            revision: int = db.execute("SELECT revision FROM memory").fetchone()[0]
            rows = db.execute(f"SELECT key FROM entries WHERE {condition}", parameters).fetchall()
        return revision, np.fromiter((key for (key,) in rows), dtype=np.int64, count=len(rows))

    def ids(self, filter: Filter) -> list[str]:
        """The ids that ``filter`` admits, ascending."""
        with self._database.reading() as db:
            return read_ids(db, filter)

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

        At least one, and no more than have ``bytes_max`` together.
        """
        condition, parameters = where(filter)
        page: list[Entry] = []
        with self._database.reading() as db:
            for entry in read_entries(
                db,
                f"id > ? AND ({condition}) ORDER BY id",
                [after, *parameters],
                limit=limit + 1,
                parts=parts,
            ):
                bytes_max -= size(entry)
                if page and (bytes_max < 0 or len(page) == limit):
                    return Page(page, more=True)
                page.append(entry)
        return Page(page, more=False)

    def entry(self, id: str, parts: Parts = Parts.NONE) -> Entry | None:
        """One entry, or None."""
        with self._database.reading() as db:
            return next(read_entries(db, "id = ?", [id], limit=1, parts=parts), None)

    def images(self, ids: Sequence[str], column: str) -> dict[str, bytes]:
        """The ``image`` or ``thumbnail`` of those of these entries that have one, by id."""
        with self._database.reading() as db:
            rows = db.execute(
                f"SELECT id, {column} FROM entries JOIN images USING (key) "
                "WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(ids)),),
            )
            return dict(rows.fetchall())

    def recall(self, request: Request | None) -> list[str] | None:
        """Like ``Transaction.recall``, without one."""
        with self._database.reading() as db:
            return recall(db, request)

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        """The stored batches of an import, in order. Raises RequestReused."""
        with self._database.reading() as db:
            return requests.stored_batches(db, request_id)


def recall(db: sqlite3.Connection, request: Request | None) -> list[str] | None:
    """The ids that a write was answered with before, or None. Raises RequestReused."""
    answer: list[str] | None = requests.recall(db, request)
    return answer


def read_standing(db: sqlite3.Connection) -> tuple[DigestState, Head]:
    """Where the digest and the audit log stand."""
    row = db.execute("SELECT digest, audit_size, audit_peaks, audit_last FROM memory").fetchone()
    return digests.from_bytes(row[0]), Head(*row[1:])


def state_of(db: sqlite3.Connection, keys: Sequence[int]) -> DigestState:
    """What the entries of these keys are in the digest."""
    state = digests.empty()
    for start in range(0, len(keys), ROWS_AT_ONCE):
        part = json.dumps(list(keys[start : start + ROWS_AT_ONCE]))
        rows = db.execute(f"{ELEMENTS} WHERE key IN (SELECT value FROM json_each(?))", (part,))
        state = digests.moved(state, came=[digests.element(*row) for row in rows])
    return state


def elements_of(
    ids: Sequence[str], entries: Sequence[Entry], vectors: NDArray[np.float32]
) -> list[bytes]:
    """What ``entries`` with ``vectors`` (b, d) under ``ids`` are in the digest."""
    data = np.ascontiguousarray(vectors, "<f4").tobytes()
    width = 4 * vectors.shape[1]
    return [
        digests.element(
            id,
            entry.label,
            to_json(entry),
            data[at * width : (at + 1) * width],
            entry.content_sha256 if entry.image else b"",
            True,
        )
        for at, (id, entry) in enumerate(zip(ids, entries, strict=True))
    ]


def to_json(entry: Entry) -> str:
    """An entry's metadata as it is stored."""
    return METADATA_JSON.encode(dict(entry.metadata)) if entry.metadata else "{}"


def read_ids(db: sqlite3.Connection, filter: Filter) -> list[str]:
    """The ids that ``filter`` admits, ascending."""
    condition, parameters = where(filter)
    rows = db.execute(f"SELECT id FROM entries WHERE {condition} ORDER BY id", parameters)
    return [id for (id,) in rows]


def read_entries(
    db: sqlite3.Connection,
    condition: str,
    parameters: Sequence[str | int],
    *,
    limit: int,
    parts: Parts = Parts.NONE,
) -> Iterator[Entry]:
    """Entries under an SQL condition of ours."""
    columns = [
        f"(SELECT {column} FROM {table} WHERE {table}.key = entries.key)"
        if part in parts
        else "NULL"
        for part, table, column in PART_COLUMNS
    ]
    rows = db.execute(
        "SELECT id, label, metadata, created_at, content_sha256, coalesce(pruned_by, ''), "
        f"{', '.join(columns)} FROM entries WHERE {condition} LIMIT ?",
        (*parameters, limit),
    )
    for id, label, metadata, created_at, content_sha256, pruned_by, row, image, thumbnail in rows:
        yield Entry(
            id=id,
            label=label,
            vector=None if row is None else np.frombuffer(row, "<f4"),
            metadata=json.loads(metadata),
            created_at=created_at,
            content_sha256=content_sha256,
            pruned_by=pruned_by,
            image=image or b"",
            thumbnail=thumbnail or b"",
        )


def size(entry: Entry) -> int:
    """About how many bytes an entry has with the parts that were read."""
    row = 0 if entry.vector is None else entry.vector.nbytes
    texts = [entry.id, entry.label, *entry.metadata.keys(), *entry.metadata.values()]
    return (
        ENTRY_BYTES
        + sum(map(len, texts)) * UTF8_BYTES
        + row
        + len(entry.image)
        + len(entry.thumbnail)
    )


def new_identity(
    name: str, dimension: int, embedder: str | None, *, store_images: bool = False
) -> Identity:
    """An identity made now."""
    return Identity(name, dimension, embedder, now(), store_images, uid=secrets.token_hex(16))
