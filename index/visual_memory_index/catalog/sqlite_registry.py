"""The registry of a catalog in an SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from visual_memory_index.catalog import listing, noted, tombstones
from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.files.database import Database
from visual_memory_index.files.migrations import CATALOG_STEPS
from visual_memory_index.ledger.standing import Noted
from visual_memory_index.records.request import Request
from visual_memory_index.sqlite import requests

TEXTS = (
    "SELECT CAST(name AS BLOB), CAST(ifnull(sql, '') AS BLOB) FROM sqlite_schema",
    "SELECT CAST(file AS BLOB) FROM memories",
    "SELECT CAST(file AS BLOB) FROM dropped",
    "SELECT CAST(uid AS BLOB), CAST(last AS BLOB), CAST(ifnull(erasing, '') AS BLOB) FROM noted",
    "SELECT CAST(request_id AS BLOB), CAST(answer AS BLOB) FROM requests",
)


class SqliteRegistryTransaction:
    """A ``RegistryTransaction`` in SQL."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def names(self) -> list[str]:
        return listing.names(self._db)

    def file_of(self, name: str) -> str | None:
        return listing.file_of(self._db, name)

    def is_taken(self, name: str) -> bool:
        return listing.is_taken(self._db, name)

    def files(self) -> Mapping[str, str]:
        return dict(self._db.execute(listing.FILES).fetchall())

    def dropped(self) -> list[str]:
        return [file for (file,) in self._db.execute("SELECT file FROM dropped")]

    def noted(self, file: str) -> Noted | None:
        return noted.read(self._db, file)

    def recall(self, request: Request) -> Any:
        return requests.recall(self._db, request)

    def knows_request(self, request_id: str) -> bool:
        known = "SELECT 1 FROM requests WHERE request_id = ?"
        return self._db.execute(known, (request_id,)).fetchone() is not None

    def ticks(self) -> int:
        return tombstones.ticks(self._db)

    def tick_of_backup(self, backup: str) -> int:
        return tombstones.tick_of_backup(self._db, backup)

    def unlearned_since(
        self, secret: bytes, uid: str, ids: Iterable[str], since: int
    ) -> Iterator[str]:
        return tombstones.unlearned_since(self._db, secret, uid, ids, since)

    def unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> list[str]:
        return tombstones.unlearned(self._db, secret, uid, ids)

    def add(self, name: str, file: str) -> None:
        self._db.execute("INSERT INTO memories VALUES (?, ?, 'creating')", (name, file))

    def set_ready(self, name: str) -> None:
        self._db.execute("UPDATE memories SET state = 'ready' WHERE name = ?", (name,))

    def replace(self, name: str, file: str) -> None:
        self._db.execute("DELETE FROM dropped WHERE file = ?", (file,))
        self._db.execute("DELETE FROM memories WHERE name = ?", (name,))
        self._db.execute("INSERT INTO memories VALUES (?, ?, 'ready')", (name, file))

    def remove(self, name: str) -> str | None:
        gone = "DELETE FROM memories WHERE name = ? RETURNING file"
        row = self._db.execute(gone, (name,)).fetchone()
        return row[0] if row else None

    def drop(self, file: str) -> None:
        self._db.execute("INSERT INTO dropped VALUES (?)", (file,))

    def drop_unfinished(self) -> None:
        listing.drop_unfinished(self._db)

    def keep_ready(self, was_ready: Callable[[str], bool]) -> None:
        listing.keep_ready(self._db, was_ready)

    def clear_dropped(self) -> None:
        self._db.execute("DELETE FROM dropped")

    def note(self, file: str, standing: Noted) -> None:
        noted.keep(self._db, file, standing)

    def keep(self, request: Request, answer: Any) -> None:
        requests.keep(self._db, request, answer)

    def note_backup(self, backup: str) -> None:
        tombstones.note_backup(self._db, backup)

    def mark_unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> int:
        return tombstones.mark_unlearned(self._db, secret, uid, ids)

    def read_secret(self, path: Path) -> bytes:
        return tombstones.read_secret(self._db, path)


class SqliteRegistry:
    """A ``Registry`` and its ``StoredFiles`` at ``path``. Raises CorruptStore, NewerStore."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        self.database = Database(path, CATALOG_STEPS)
        self.check = self.database.check
        self.close = self.database.close
        self.descriptors = self.database.descriptors
        self.rewrite = self.database.rewrite
        self.renew_connections = self.database.renew_connections

    @contextmanager
    def reading(self) -> Iterator[SqliteRegistryTransaction]:
        with self.database.reading() as db:
            yield SqliteRegistryTransaction(db)

    @contextmanager
    def transaction(self) -> Iterator[SqliteRegistryTransaction]:
        with self._writing, self.database.transaction() as db:
            yield SqliteRegistryTransaction(db)

    def truncate_log(self) -> bool:
        with self._writing:
            return self.database.truncate_log()

    def found_in(self, patterns: ResiduePatterns) -> frozenset[bytes]:
        found: set[bytes] = set()
        with self.database.own_connection() as db:
            for select in TEXTS:
                for text in chain.from_iterable(db.execute(select)):
                    found |= patterns.found_in(text)
        return frozenset(found)
