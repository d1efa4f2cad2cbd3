"""Copying a memory's file row by row, for backups, restores and copies.

SQLite's VACUUM INTO and its backup API would also copy data that must not be copied, such as the
answers to writes, and took longer. One state of the source is read, while others write to it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import CorruptStore
from visual_memory_index.files import checksums as sums
from visual_memory_index.files.database import PAGE_BYTES, connect, translate_errors
from visual_memory_index.files.disk import new_file
from visual_memory_index.files.migrations import MEMORY_STEPS, migrate
from visual_memory_index.ledger import digest as digests
from visual_memory_index.records.request import LOCAL
from visual_memory_index.rows.distances import bad_rows
from visual_memory_index.sqlite import pairs
from visual_memory_index.sqlite.backup import NAME_SETTING
from visual_memory_index.sqlite.contents import SqliteContents
from visual_memory_index.sqlite.entries import SEAL, read_standing, to_matrix
from visual_memory_index.sqlite.transaction import SqliteTransaction
from visual_memory_index.store.contents import StoredEntry, check_log, state_of
from visual_memory_index.store.store import Identity, Reembedded, Transaction

EVENTS_AT_ONCE = 4096
OF_ENTRIES = ("entries", "vectors", "images", "relabels")  # by key
TABLES = ("memory", "operations", "settings", "requests", "audit", *OF_ENTRIES)
OPERATION = ":name || substr({0}, instr({0}, '/'))"  # names of operations begin with the memory's
NAMES = MappingProxyType(
    {
        ("memory", "name"): ":name",
        ("operations", "name"): OPERATION.format("name"),
        ("entries", "pruned_by"): OPERATION.format("pruned_by"),
        ("entries", "relabelled_by"): OPERATION.format("relabelled_by"),
        ("relabels", "operation"): OPERATION.format("operation"),
        ("relabels", "relabelled_by"): OPERATION.format("relabelled_by"),
    }
)


class Replica:
    """A new file at ``target`` with a copy of the memory at ``source``.

    ``begin`` fixes the moment that is copied. ``check`` is called often, and may raise to end the
    copy. Raises CorruptStore, BadAuditLog, FileUnavailable.
    """

    def __init__(self, source: Path, target: Path, check: Callable[[], None]) -> None:
        self._source, self._target, self._check = source, target, check
        self._translate_errors = partial(translate_errors, source, target)
        new_file(target).close()
        with self._translate_errors():
            with closing(connect(target)) as db:
                do_not_sync(db, "main")
                db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                migrate(db, MEMORY_STEPS, target)
            self._db = connect(source)
            try:
                self._db.execute("ATTACH ? AS target", (str(target),))
                do_not_sync(self._db, "target")
                self._db.execute("CREATE TEMP TABLE leaving (key INTEGER PRIMARY KEY)")
                self._inserts = {table: to_insert(self._db, table) for table in TABLES}
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._db.close()

    def begin(self) -> None:
        """Fix the moment that is copied: later commits will not be in the copy."""
        with self._translate_errors():
            self._db.execute("BEGIN")
            self._db.execute("SELECT 1 FROM main.memory").fetchone()

    def write(
        self,
        identity: Identity,
        name: str,
        finish: Callable[[Transaction], object],
        *,
        principal: str = LOCAL,
        leave_out: Iterable[str] = (),
        settings: Iterable[str] = (),
        reembedded: Reembedded | None = None,
    ) -> int:
        """Write the memory of this ``identity`` as ``name``; return how many entries are left out.

        The entries and the audit log must match the digest. The entries ``leave_out`` and entries
        that wait to be unlearned are left out. If there are any, everything that names them is left
        out as well, and so are the settings named in ``settings``, which were derived from them;
        the audit log names the ``principal``. ``finish`` may add to the transaction. A copy that
        is ``reembedded`` is to replace its source, and keeps the answers to requests.
        """
        with self._translate_errors():
            left, state = self._copy(identity, name, leave_out, reembedded)
            made = reembedded.identity if reembedded else identity
            with closing(connect(self._target)) as db:
                do_not_sync(db, "main")
                db.execute("BEGIN")
                transaction = SqliteTransaction(db, self._target, made.kind)
                if reembedded:
                    transaction.state = state
                    transaction.next_revision()
                    db.execute(
                        "UPDATE memory SET dimension = ?, embedder = ?",
                        (made.dimension, made.embedder),
                    )
                if left:
                    transaction.state = state
                    transaction.note_ids_to_unlearn("", left)
                    transaction.scrub("", left.values(), settings)
                    transaction.next_revision()
                    transaction.log("LeaveOutEntries", len(left), principal)
                finish(transaction)
                transaction.finish()
                renamed = " WHERE pruned_by NOT NULL OR relabelled_by NOT NULL"
                db.execute(SEAL if reembedded else SEAL + renamed)
                sums.write(db)
                db.execute("COMMIT")
        return len(left)

    def _copy(
        self,
        identity: Identity,
        name: str,
        leave_out: Iterable[str],
        reembedded: Reembedded | None,
    ) -> tuple[dict[str, str], digests.State]:
        """Copy all rows; return the label of each entry left out, by id, and the digest's state."""
        db = self._db
        sums.check(db)
        db.execute(
            "INSERT INTO leaving SELECT key FROM main.entries WHERE id IN "
            "(SELECT value FROM json_each(?) UNION SELECT id FROM main.erasing)",
            (json.dumps(list(leave_out)),),
        )
        leaving = {
            key: (id, label)
            for key, id, label in db.execute(
                "SELECT key, id, label FROM leaving JOIN main.entries USING (key)"
            )
        }
        self._insert("memory", "TRUE", name=name)
        self._insert("operations", "state != 'running'", name=name)
        dropped = [NAME_SETTING, *(reembedded.dropped if reembedded else ())]
        which = "name NOT IN (SELECT value FROM json_each(:dropped))"
        self._insert("settings", which, dropped=json.dumps(dropped))
        if reembedded:
            self._insert("requests", "TRUE")
        contents = SqliteContents(db, self._source, *read_standing(db))
        state = kept = digests.empty()
        for entries in contents.entries():
            self._check()
            check_vectors(entries, identity.dimension, self._source)
            share = as_stored(entries)
            state = state + share
            staying, vectors = [each for each in entries if each.key not in leaving], None
            if reembedded:
                vectors = reembedded.vectors_of([each.key for each in staying])
                kept = kept + as_stored(with_vectors(staying, vectors))
            else:
                gone = [each for each in entries if each.key in leaving]
                kept = kept + share - as_stored(gone)
            part = {"first": entries[0].key, "last": entries[-1].key}
            which = "{0}key BETWEEN :first AND :last AND {0}key NOT IN leaving"
            for table in OF_ENTRIES:
                self._insert(table, which.format(""), name=name, **part)
            these = f"{pairs.OF_ENTRIES} WHERE {which.format('entries.')}"
            db.execute(f"INSERT INTO target.pairs {these}", part)
            if vectors is not None:
                self._put(staying, vectors)
        if not np.array_equal(state, contents.state):
            raise CorruptStore(self._source, "its entries are not those of its digest")
        check_log(contents, identity.name, identity.kind, lambda read: self._check())
        for first in range(0, contents.head.size, EVENTS_AT_ONCE):
            self._check()
            self._insert(
                "audit",
                "number >= :first AND number < :end",
                first=first,
                end=first + EVENTS_AT_ONCE,
            )
        db.execute("COMMIT")
        db.close()
        return dict(leaving.values()), kept

    def _put(self, entries: Sequence[StoredEntry], vectors: NDArray[np.float32]) -> None:
        """Replace the vectors of entries in the target."""
        blobs = [row.tobytes() for row in vectors.astype("<f4", copy=False)]
        keys = [each.key for each in entries]
        update = "UPDATE target.vectors SET vector = ? WHERE key = ?"
        self._db.executemany(update, zip(blobs, keys, strict=True))
        update = "UPDATE target.entries SET vector_checksum = ? WHERE key = ?"
        self._db.executemany(update, zip(map(crc32, blobs), keys, strict=True))

    def _insert(self, table: str, condition: str, **parameters: str | int) -> None:
        self._db.execute(f"{self._inserts[table]} WHERE {condition}", parameters)


def check_tables(path: Path) -> None:
    """Check that a file has only plain tables and indices, no triggers or views.

    Raises CorruptStore.
    """
    with translate_errors(path), closing(connect(path)) as db:
        kinds = "SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index')"
        if db.execute(f"{kinds} OR sql LIKE 'CREATE VIRTUAL%'").fetchone():
            raise CorruptStore(path, "it holds more than the tables of a memory")


def do_not_sync(db: sqlite3.Connection, schema: str) -> None:
    """Turn off journal and fsync of the database ``schema``, whose file a crash discards."""
    db.execute(f"PRAGMA {schema}.journal_mode = OFF")
    db.execute(f"PRAGMA {schema}.synchronous = OFF")


def to_insert(db: sqlite3.Connection, table: str) -> str:
    """Return the SQL that copies all rows of a table from the database main to target."""
    rows = db.execute("SELECT name FROM pragma_table_info(?, 'target')", (table,))
    columns = [name for (name,) in rows]
    values = [NAMES.get((table, column), column) for column in columns]
    return (
        f"INSERT INTO target.{table} ({', '.join(columns)}) "
        f"SELECT {', '.join(values)} FROM main.{table}"
    )


def as_stored(entries: Sequence[StoredEntry]) -> digests.State:
    """Return the digest's state for ``entries``; their images are hashed as they are stored now."""
    hashes = [b"" if each.image is None else sha256(each.image).digest() for each in entries]
    return state_of(entries, hashes)


def with_vectors(entries: Sequence[StoredEntry], vectors: NDArray[np.float32]) -> list[StoredEntry]:
    """Return entries with new vectors."""
    rows = vectors.astype("<f4", copy=False)
    return [each._replace(vector=row.tobytes()) for each, row in zip(entries, rows, strict=True)]


def check_vectors(entries: Sequence[StoredEntry], dimension: int, path: Path) -> None:
    """Check that all vectors are finite and have this dimension.

    Raises CorruptStore about the file at ``path``.
    """
    if len(bad_rows(to_matrix([each.vector for each in entries], dimension, path))):
        raise CorruptStore(path, "a vector is not finite")
