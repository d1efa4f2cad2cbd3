"""An SQLite file, opened with the settings this project needs."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from visual_memory_index.errors import (
    EMPTIED,
    PUT_BACK,
    CorruptStore,
    DiskFull,
    FileHeld,
    FileUnavailable,
    ReadFailed,
    WriteFailed,
)
from visual_memory_index.files import checksums as sums
from visual_memory_index.files.damage import NotAsWritten, damage_of, safe_message
from visual_memory_index.files.disk import (
    check_files_left,
    database_files,
    file_unavailable,
    new_file,
    probe_folder,
    translate_os_errors,
)
from visual_memory_index.files.migrations import check_ours, check_schema, migrate
from visual_memory_index.files.read_ahead import ReadAhead
from visual_memory_index.records.measures import COMMIT_SECONDS

PAGE_BYTES = 16384  # measured: benchmarks/performance/page_size.py
BUSY_TIMEOUT = "PRAGMA busy_timeout = 10000"  # milliseconds
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL}  # by another program
UNWRITABLE = {
    *HELD,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,  # a log or an index that could not be made
}
# Errors that may pass; a disk that cannot be read or synchronised stays so.
NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_FSTAT}
NO_MEMORY = {sqlite3.SQLITE_IOERR_NOMEM, sqlite3.SQLITE_IOERR_SHMMAP}


class Database:
    """An SQLite file with a writing connection, and a reading one for each concurrent read.

    The caller lets one thread at a time into ``transaction``. Raises CorruptStore, FileUnavailable,
    and NewerStore at opening. See ``migrate`` for ``steps`` and ``compare``. ``ways_out`` maps ways
    out of damage, which are those of a memory's file, to those of this file. ``damaged`` is called
    with each CorruptStore before it is raised.
    """

    def __init__(
        self,
        path: Path,
        steps: tuple[str, ...],
        compare: Callable[[sqlite3.Connection], None] = lambda db: None,
        ways_out: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.path, self._ways_out = path, ways_out
        self.damaged: Callable[[CorruptStore], None] = lambda damage: None
        self._idle: list[sqlite3.Connection] = []
        self._has_triggers = False  # of the writing connection
        self.version = 0  # number of transactions that have changed something
        self._read: dict[Path, int] = {}
        self._idle_lock = threading.Lock()
        check_files_left(path)
        if not path.exists():
            new_file(path).close()
        with self._translate_errors():
            self._inode = self._stat()
            self._writer = self._connect()
            try:
                check_ours(self._writer, steps, path)  # before anything is written to it
                self._writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                self._writer.execute("PRAGMA journal_mode = WAL")
                migrate(self._writer, steps, path, compare)
                check_schema(self._writer, steps, path)
            except BaseException:
                self._writer.close()
                raise

    def check(self) -> None:
        """Compare the tables with their checksum totals and their indices, see ``checksums.check``.

        Vectors and pictures are not read. Raises CorruptStore.
        """
        with self.reading() as db:
            sums.check(db)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the writing connection; at the end commit with an fsync, on an error roll back.

        Nothing is committed to a file that was deleted or replaced, which a restart would lack.
        """
        with self._translate_errors():
            if not self._has_triggers:  # which are made for the first write, as many open only read
                sums.add_triggers(self._writer)
                self._has_triggers = True
            self._writer.execute("BEGIN IMMEDIATE")
            before = self._writer.total_changes
            try:
                yield self._writer
                self._check_in_place()
                with COMMIT_SECONDS.timed():
                    self._writer.execute("COMMIT")
                self.version += self._writer.total_changes > before
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a read transaction."""
        with self._idle_lock:
            reader = self._idle.pop() if self._idle else None
        with self._translate_errors():
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
    def own_connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a new connection and close it, so that no values of its queries stay cached.

        An error that the file's bytes cause is raised as CorruptStore, whatever it is.
        """
        with (
            self._translate_errors(),
            damage_of(self.path),
            translate_errors(self.path),
            closing(self._connect()) as reader,
        ):
            yield reader

    def truncate_log(self) -> bool:
        """Fold the write-ahead log into the file and truncate it; return False if it is in use.

        Nothing else may write. All idle connections are replaced.
        """
        with self._translate_errors():
            self._writer.execute("PRAGMA busy_timeout = 0")  # other threads wait
            try:
                busy: int = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                self._writer.execute(BUSY_TIMEOUT)
        self.renew_connections()
        return not busy

    def renew_connections(self) -> None:
        """Replace all idle connections, to free the pages and values that they cache.

        Nothing else may write. Connections that are reading stay open.
        """
        with self._translate_errors():
            self.close_idle()
            fresh, self._has_triggers = self._connect(), False
            self._writer.close()
            self._writer = fresh

    def close_idle(self) -> None:
        """Close the connections that are not reading."""
        with self._idle_lock:
            for reader in self._idle:
                reader.close()
            self._idle.clear()

    def rewrite(self) -> None:
        """Rewrite the whole file (VACUUM), so that unused space holds no data.

        Raises FileUnavailable.
        """
        with self.own_connection() as db:
            db.execute("PRAGMA temp_store = FILE")  # all entries, none of them erased
            db.execute("VACUUM")

    def bytes_on_disk(self) -> int:
        """Return the size in bytes of the file and its write-ahead log."""
        file, log, _ = database_files(self.path)
        return sum(each.stat().st_size for each in (file, log) if each.exists())

    def descriptors(self) -> list[int]:
        """Return read-only descriptors of the file, its write-ahead log and the log's index.

        Files that do not exist are left out. ``close`` closes the descriptors, and the caller must
        not: a process that closes a file loses all its locks on it, also SQLite's.
        """
        return self._descriptors(database_files(self.path))

    def read_ahead(self, db: sqlite3.Connection, table: str, row_bytes: int) -> ReadAhead:
        """Return what has the system read the rows of a ``table`` with integer keys ahead.

        ``row_bytes`` is the usual size of a row.
        """
        (file,) = self._descriptors([self.path])
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        find_root = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (root,) = db.execute(find_root, (table,)).fetchone()
        return ReadAhead(file, page_bytes, root, row_bytes)

    def close(self) -> None:
        """Fold the write-ahead log into the file, and close all connections and descriptors."""
        self.close_idle()
        self._writer.close()
        for descriptor in self._read.values():
            os.close(descriptor)
        self._read.clear()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            with translate_errors(self.path):
                yield
        except CorruptStore as damage:
            if damage.path == self.path and (way_out := self._ways_out.get(damage.way_out)):
                damage = CorruptStore(self.path, damage.problem, way_out=way_out)
            self.damaged(damage)
            raise damage

    def _descriptors(self, paths: Sequence[Path]) -> list[int]:
        with self._translate_errors():
            self._check_in_place()
        for path in paths:
            if path not in self._read and path.exists():
                with translate_os_errors(path, opening=True):
                    self._read[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return [self._read[path] for path in paths if path in self._read]

    def _check_in_place(self) -> None:
        """Raise CorruptStore if the file was deleted or replaced since it was opened."""
        if self._stat() != self._inode:
            problem = "another file was put in its place"
            raise CorruptStore(self.path, problem, way_out=PUT_BACK)

    def _stat(self) -> tuple[int, int]:
        """Return device and inode of the file at ``path``. Raises CorruptStore, FileUnavailable."""
        try:
            found = os.stat(self.path)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except FileNotFoundError:
            raise missing(self.path) from None
        except OSError as error:
            raise file_unavailable(self.path, error, opening=True) from error
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        self._check_in_place()
        connection = connect(self.path)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


def connect(path: Path) -> sqlite3.Connection:
    """Connect to an existing file; a missing one is not created.

    Raises CorruptStore, FileUnavailable.
    """
    check_not_emptied(path)
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute(BUSY_TIMEOUT)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA temp_store = MEMORY")  # statement journals would have erased data
    db.execute("PRAGMA trusted_schema = OFF")  # a backup may come from anywhere
    db.execute("PRAGMA cell_size_check = ON")
    sums.add_functions(db)
    return db


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Connect to a file that no one else has open, without changing it or its write-ahead log.

    A connection that may write would fold the log into the file on closing, and an ordinary
    read-only connection would make an empty log. Raises CorruptStore, FileUnavailable.
    """
    check_not_emptied(path)
    how = "mode=ro" if has_log(path) else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)


@contextmanager
def keeping_log(path: Path) -> Iterator[None]:
    """Keep the write-ahead log of a file as it is if opening the file inside the context fails.

    The last connection to close would fold the log into the file and delete it. A connection that
    may not write, and so does neither, is kept open meanwhile. Raises CorruptStore,
    FileUnavailable.
    """
    with ExitStack() as held:
        if has_log(path):
            with translate_errors(path):
                db = held.enter_context(closing(connect_read_only(path)))
                db.execute("PRAGMA user_version").fetchone()  # which locks the file
        yield


def check_not_emptied(path: Path) -> None:
    """Check that a file is not empty while its write-ahead log, which SQLite would delete, is not.

    Raises CorruptStore, FileUnavailable.
    """
    with translate_os_errors(path, opening=True):
        if is_empty(path) and has_log(path):
            problem = f"it is empty, though its log {path.name}-wal is not"
            raise CorruptStore(path, problem, way_out=EMPTIED)


def is_empty(path: Path) -> bool:
    """Return True if SQLite takes an existing file for a new one, as it does with a single byte.

    Raises OSError, also if ``path`` is a FIFO or a device.
    """
    with suppress(FileNotFoundError):
        found = path.stat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return found.st_size <= 1
    return False


def has_log(path: Path) -> bool:
    """Return True if a write-ahead log holds changes that the file does not."""
    _, log, _ = database_files(path)
    return log.exists() and log.stat().st_size > 0


def schema_of(path: Path) -> int:
    """Return the schema version of a file; 0 if it is missing or empty. Raises CorruptStore."""
    if not path.exists():
        return 0
    with translate_errors(path), closing(connect_read_only(path)) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        return version


@contextmanager
def translate_errors(path: Path, target: Path | None = None) -> Iterator[None]:
    """Re-raise SQLite's errors as refusals about the file at ``path``.

    A file that cannot be written is taken to be ``target``, if given. Raises CorruptStore,
    FileUnavailable, MemoryError.
    """
    try:
        yield
    except NotAsWritten as damage:
        raise CorruptStore(path, str(damage)) from None
    except sqlite3.DatabaseError as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        undecodable = isinstance(error, sqlite3.OperationalError) and not code
        if code in DAMAGED or undecodable or str(error).startswith("malformed"):
            raise CorruptStore(path, safe_message(error)) from None
        if extended == sqlite3.SQLITE_IOERR_SHORT_READ:
            raise CorruptStore(path, "it is shorter than it was") from None
        if extended in NO_MEMORY:
            raise MemoryError from error
        if code == sqlite3.SQLITE_CANTOPEN and not path.exists():
            raise missing(path) from None
        if code in UNWRITABLE:
            raise io_error(target or path, extended, str(error)) from error
        raise


def missing(path: Path) -> CorruptStore:
    """Return the refusal of a file that was there before."""
    return CorruptStore(path, "the file is missing", way_out=PUT_BACK)


def io_error(path: Path, extended: int, complaint: str) -> FileUnavailable:
    """Return the refusal for an SQLite error, after looking for the cause on the disk.

    ``extended`` is SQLite's extended error code, ``complaint`` its message. Raises MemoryError if
    memory ran out.
    """
    code = extended & 0xFF
    if code in HELD:
        return FileHeld(path, complaint)
    if extended in UNREADABLE:
        return ReadFailed(path, complaint)
    if code == sqlite3.SQLITE_READONLY:
        return WriteFailed(path, complaint)
    opening = code == sqlite3.SQLITE_CANTOPEN
    if link := next((file for file in database_files(path)[1:] if file.is_symlink()), None):
        return WriteFailed(link, "it is a link, which SQLite does not follow", opening=opening)
    if trouble := file_trouble(path) or probe_folder(path.parent):
        return file_unavailable(path, trouble, opening=opening)
    kind = DiskFull if opening or extended in NO_ROOM else WriteFailed
    return kind(path, complaint, opening=opening)


def file_trouble(path: Path) -> OSError | None:
    """Return an OSError that says why a database file or its log (-wal) cannot be written, or None.

    No file is opened, since a process that closes a file loses all its locks on it, also SQLite's.
    """
    for file in database_files(path):
        if file.is_dir():
            return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
    return None
