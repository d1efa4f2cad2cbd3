"""One SQLite file, opened the way this project needs it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visual_memory_index.errors import CorruptStore, DiskFull
from visual_memory_index.migrations import migrate

PAGE_BYTES = 16384  # measured: benchmarks/performance/page_size.py
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
UNWRITABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,  # a log or an index that could not be made
}
REMEMBERED_MICROSECONDS = 48 * 3600 * 1_000_000  # the contract promises answers for 24 hours


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Database:
    """One writing connection and as many reading ones as read at the same time.

    The caller lets one thread at a time into ``transaction``. Raises CorruptStore, DiskFull, and
    NewerStore at opening.
    """

    def __init__(self, path: Path, steps: tuple[str, ...]) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        with self._translated():
            self._writer = self._connect()
            try:
                self._writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                self._writer.execute("PRAGMA journal_mode = WAL")
                migrate(self._writer, steps, path)
            except BaseException:
                self._writer.close()
                raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside, with an fsync, or undo it all."""
        with self._translated():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent state to read from."""
        with self._idle_lock:
            reader = self._idle.pop() if self._idle else None
        with self._translated():
            reader = reader or self._connect()
            try:
                reader.execute("BEGIN")
                yield reader
                reader.execute("COMMIT")
            except BaseException:
                reader.close()
                raise
        with self._idle_lock:
            self._idle.append(reader)

    def bytes_on_disk(self) -> int:
        """The file and its write-ahead log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        with self._idle_lock:
            for reader in self._idle:
                reader.close()
            self._idle.clear()
        self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's complaints in our words."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            undecodable = isinstance(error, sqlite3.OperationalError) and not code
            if code in DAMAGED or undecodable:
                raise CorruptStore(str(self.path), str(error)) from error
            if code in UNWRITABLE:
                raise DiskFull(str(self.path), str(error)) from error
            raise
