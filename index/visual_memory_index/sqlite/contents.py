"""The contents of a memory's file at one moment, read in pieces for checks and copies."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from visual_memory_index.errors import CorruptStore
from visual_memory_index.ledger.audit import Head
from visual_memory_index.ledger.digest import State
from visual_memory_index.sqlite import pairs
from visual_memory_index.sqlite.entries import ROW, check_part, verified
from visual_memory_index.store.contents import StoredEntry

ROWS_AT_ONCE = 1024
BYTES_AT_ONCE = 8 << 20
STEPS_AT_ONCE = 1000  # of SQLite's machine, each at most a page: 16 MB
ENTRIES = (
    f"SELECT {ROW}, vector, image, thumbnail "
    "FROM entries LEFT JOIN vectors USING (key) LEFT JOIN images USING (key) ORDER BY key"
)


class SqliteContents:
    """The ``Contents`` of a memory's file, read in one transaction while others may write."""

    def __init__(self, db: sqlite3.Connection, path: Path, state: State, head: Head) -> None:
        self._db = db
        self.path, self.state, self.head = path, state, head

    def count(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM entries").fetchone()[0]
        return count

    def ids(self) -> Iterator[str]:
        for (id,) in self._db.execute("SELECT id FROM entries"):
            yield id

    def entries(self) -> Iterator[list[StoredEntry]]:
        part: list[StoredEntry] = []
        left = BYTES_AT_ONCE
        for *values, vector, image, thumbnail in self._db.execute(ENTRIES):
            row = verified(values)
            check_part("vector", row.key, row.vector_checksum, vector)
            check_part("image", row.key, row.image_checksum, image)
            check_part("thumbnail", row.key, row.thumbnail_checksum, thumbnail)
            votes = row.pruned_by is None
            entry = StoredEntry(*row[:4], vector, votes, row.content_sha256, image)
            part.append(entry)
            left -= entry.size
            if left < 0 or len(part) == ROWS_AT_ONCE:
                yield part
                part, left = [], BYTES_AT_ONCE
        if part:
            yield part

    def events(self) -> Iterator[tuple[int, str]]:
        return iter(self._db.execute("SELECT number, event FROM audit ORDER BY number"))

    def last_event(self) -> tuple[int, str] | None:
        rows = self._db.execute("SELECT number, event FROM audit ORDER BY number DESC LIMIT 1")
        last: tuple[int, str] | None = rows.fetchone()
        return last

    def check_file(self, on_progress: Callable[[], None]) -> None:
        """Run SQLite's integrity checks; ``on_progress`` may raise. Raises CorruptStore."""
        stopped: list[BaseException] = []

        def is_stopped() -> bool:
            try:
                on_progress()
            except BaseException as error:
                stopped.append(error)
            return bool(stopped)

        self._db.set_progress_handler(is_stopped, STEPS_AT_ONCE)
        try:
            fault: str = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            orphan = self._db.execute("PRAGMA foreign_key_check").fetchone()
            if fault == "ok":
                pairs.check(self._db)
        except sqlite3.OperationalError:
            if stopped:
                raise stopped[0] from None
            raise
        finally:
            self._db.set_progress_handler(None, 0)
        if fault != "ok":
            raise CorruptStore(self.path, fault)
        if orphan:
            raise CorruptStore(self.path, f"{orphan[0]} has a row that belongs to nothing")
