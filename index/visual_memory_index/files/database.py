"""One SQLite file, opened the way this project needs it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from visual_memory_index.errors import CorruptStore, DiskFull, FileHeld, NotWritten, WriteFailed
from visual_memory_index.files import checksums as sums
from visual_memory_index.files.damage import NotAsWritten, said
from visual_memory_index.files.disk import new_file, not_written, trouble_in
from visual_memory_index.files.migrations import check_schema, migrate

PAGE_BYTES = 16384  # measured: benchmarks/performance/page_size.py
BUSY_TIMEOUT = "PRAGMA busy_timeout = 10000"  # milliseconds
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
UNWRITABLE = {
    sqlite3.SQLITE_BUSY,  # another program holds it
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,  # a log or an index that could not be made
}
NO_MEMORY = {sqlite3.SQLITE_IOERR_NOMEM, sqlite3.SQLITE_IOERR_SHMMAP}


class Database:
    """One writing connection and as many reading ones as read at the same time.

    The caller lets one thread at a time into ``transaction``. Raises CorruptStore, NotWritten, and
    NewerStore at opening. See ``migrate`` for ``steps`` and ``compare``.
    """

    def __init__(
        self,
        path: Path,
        steps: tuple[str, ...],
        compare: Callable[[sqlite3.Connection], None] = lambda db: None,
    ) -> None:
        self.path = path
        self._translated = partial(translated, path)
        self._idle: list[sqlite3.Connection] = []
        self._read: dict[Path, int] = {}
        self._idle_lock = threading.Lock()
        if not path.exists():
            new_file(path).close()
        with self._translated():
            self._writer = self._connect()
            try:
                self._writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                self._writer.execute("PRAGMA journal_mode = WAL")
                migrate(self._writer, steps, path, compare)
                check_schema(self._writer, steps, path)
                sums.follow(self._writer)
            except BaseException:
                self._writer.close()
                raise

    def check(self) -> None:
        """Compare the small tables with their sums, and with their indices. Raises CorruptStore."""
        with self.reading() as db:
            sums.check(db)

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

    @contextmanager
    def apart(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own: others keep what was asked of them last."""
        with self._translated():
            reader = self._connect()
            try:
                yield reader
            finally:
                reader.close()

    def truncate_log(self) -> bool:
        """Fold the log into the file and cut it to nothing; False where a reader still needs it.

        Nothing else may write, and who reads keeps it from being cut. Connections are made anew.
        """
        with self._translated():
            self._writer.execute("PRAGMA busy_timeout = 0")  # the caller holds others up
            try:
                busy: int = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                self._writer.execute(BUSY_TIMEOUT)
        self.renew_connections()
        return not busy

    def renew_connections(self) -> None:
        """Leave nothing in RAM of pages and values that connections keep. Nothing else may write.

        Those that read at the moment stay as they are.
        """
        with self._translated():
            with self._idle_lock:
                for reader in self._idle:
                    reader.close()
                self._idle.clear()
            fresh = self._connect()
            try:
                sums.follow(fresh)
            except BaseException:
                fresh.close()
                raise
            self._writer.close()
            self._writer = fresh

    def rewrite(self) -> None:
        """Write the whole file anew, so that nothing is left in unused space. Raises NotWritten."""
        with self.apart() as db:
            db.execute("PRAGMA temp_store = FILE")  # it writes entries that stay, all
            db.execute("VACUUM")

    def bytes_on_disk(self) -> int:
        """The file and its write-ahead log."""
        file, log, _ = self.files()
        return sum(each.stat().st_size for each in (file, log) if each.exists())

    def files(self) -> tuple[Path, Path, Path]:
        """The file, its log, and the index of the log."""
        log, index = (self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))
        return self.path, log, index

    def descriptors(self) -> list[int]:
        """The files opened to be read, until this is closed.

        A process that closes a file loses all its locks on it, SQLite's too.
        """
        for path in self.files():
            if path not in self._read and path.exists():
                self._read[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return list(self._read.values())

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        with self._idle_lock:
            for reader in self._idle:
                reader.close()
            self._idle.clear()
        self._writer.close()
        for descriptor in self._read.values():
            os.close(descriptor)
        self._read.clear()

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there, and is not made where it is not any more."""
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute(BUSY_TIMEOUT)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA temp_store = MEMORY")  # what undoes a part holds what it erases
    db.execute("PRAGMA trusted_schema = OFF")  # a backup may come from anywhere
    db.execute("PRAGMA cell_size_check = ON")
    sums.add_functions(db)
    return db


def look_into(path: Path) -> sqlite3.Connection:
    """A connection that reads a file that nobody else has, and leaves it and its log as they are.

    One that may write would fold the log into the file when it is closed, and even one that may not
    would make an empty log.
    """
    how = "mode=ro" if has_log(path) else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)


def has_log(path: Path) -> bool:
    """Whether there is more of a file than it has itself."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def schema_of(path: Path) -> int:
    """The schema of a file; 0 where it is missing or empty. Raises CorruptStore."""
    if not path.exists():
        return 0
    with translated(path), closing(look_into(path)) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        return version


@contextmanager
def translated(path: Path, target: Path | None = None) -> Iterator[None]:
    """SQLite's complaints about a file in our words; what is written goes to ``target``, if given.

    Raises CorruptStore, NotWritten, MemoryError.
    """
    try:
        yield
    except NotAsWritten as damage:
        raise CorruptStore(str(path), str(damage)) from None
    except sqlite3.DatabaseError as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        undecodable = isinstance(error, sqlite3.OperationalError) and not code
        if code in DAMAGED or undecodable or str(error).startswith("malformed"):
            raise CorruptStore(str(path), said(error)) from None
        if extended in NO_MEMORY:
            raise MemoryError from error
        if code == sqlite3.SQLITE_CANTOPEN and not path.exists():
            raise CorruptStore(str(path), "the file is missing") from None
        if code in UNWRITABLE:
            raise unwritable(target or path, code, str(error)) from error
        raise


def unwritable(path: Path, code: int, complaint: str) -> NotWritten:
    """Why SQLite could not write, which it does not tell. Raises MemoryError."""
    if code == sqlite3.SQLITE_BUSY:
        return FileHeld(str(path), complaint)
    if code == sqlite3.SQLITE_READONLY:
        return WriteFailed(str(path), complaint)
    opening = code == sqlite3.SQLITE_CANTOPEN
    if trouble := trouble_in(path.parent):
        return not_written(path, trouble, opening=opening)
    return DiskFull(str(path), complaint, opening=opening)
