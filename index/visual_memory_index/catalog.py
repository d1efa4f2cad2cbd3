"""The memories of one data folder: which there are, and in which file each lies."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from visual_memory_index import secret, tombstones
from visual_memory_index import sqlite_requests as requests
from visual_memory_index.backup import NAME_SETTING, Arrival
from visual_memory_index.check import check_end
from visual_memory_index.damage import damage_of
from visual_memory_index.database import Database
from visual_memory_index.errors import (
    BadAuditLog,
    BadBackup,
    CorruptStore,
    FolderInUse,
    MemoryExists,
    NewerStore,
    UnknownMemory,
    listed,
)
from visual_memory_index.files import make_folder, remove_database, sync, written
from visual_memory_index.memory import Memory
from visual_memory_index.migrations import CATALOG_STEPS
from visual_memory_index.replica import Replica, check_tables
from visual_memory_index.request import Request
from visual_memory_index.sqlite_store import SqliteStore
from visual_memory_index.store import Identity, Transaction, new_identity
from visual_memory_index.traces import Traces

SECRET = Path("keys") / "tombstones.key"


class Outdated(Exception):
    """A rebuilt memory holds entries that were unlearned meanwhile; it has to be rebuilt again."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The file of a memory that waits to be listed under a ``name``.

    So many entries were ``left_out``. Nothing that was unlearned until the tick ``since`` is in it.
    """

    path: Path
    name: str
    identity: Identity
    left_out: int
    since: int


FILES = """
    SELECT file, name FROM memories WHERE state IN ('creating', 'ready')
    UNION ALL SELECT file, '' FROM dropped
"""
TEXTS = (
    "SELECT CAST(name AS BLOB), CAST(ifnull(sql, '') AS BLOB) FROM sqlite_schema",
    "SELECT CAST(file AS BLOB) FROM memories",
    "SELECT CAST(file AS BLOB) FROM dropped",
    "SELECT CAST(request_id AS BLOB), CAST(answer AS BLOB) FROM requests",
)


class Catalog:
    """A folder locked for this process; its list of memories is the truth, files follow it.

    A memory is listed as ``creating`` before its file is made, and moved to ``dropped`` before its
    file goes, so that opening can finish what a crash cut short; a file that is not listed then
    belongs to a memory that the list has lost. What is not listed yet is in ``unfinished``, which
    is emptied. The caller lets one thread at a time into ``create``, ``adopt``, ``drop`` and
    ``clear``. Raises FolderInUse, CorruptStore, NewerStore, LostSecret.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._memories, self._unfinished = folder / "memories", folder / "unfinished"
        make_folder(self._memories)
        self._writing = threading.Lock()
        self._lock = FolderLock(folder)
        path = folder / "catalog.sqlite"
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            try:
                with damage_of(path):
                    check_not_emptied(path, self._memories)
                    self._database = Database(path, CATALOG_STEPS)
                    undo.callback(self._database.close)
                    self._lost = self._find_lost()
                    self._check()
                    self._secret = self._read_secret()
                    self._clear_unfinished()
                    self.clear()
            except CorruptStore as damage:
                raise CorruptStore(damage.path, damage.problem, of_folder=True) from damage
            undo.pop_all()

    def close(self) -> None:
        """Let another server have the folder."""
        self._database.close()
        self._lock.close()

    def cut_log(self) -> None:
        """Leave nothing of what was dropped in the log, if nobody reads it. Raises DiskFull."""
        with self._writing:
            self._database.truncate_log()

    def descriptors(self) -> list[int]:
        """The files of the list of memories, opened to be read."""
        return self._database.descriptors()

    def found_in(self, traces: Traces) -> frozenset[bytes]:
        """The pieces of ``traces`` that are in names, requests and the schema, masked."""
        found: set[bytes] = set()
        with self._database.apart() as db:
            for select in TEXTS:
                for text in chain.from_iterable(db.execute(select)):
                    found |= traces.found_in(text)
        return frozenset(found)

    def names(self) -> list[str]:
        """The memories that exist, sorted, also those of which only the file is left."""
        with self._database.reading() as db:
            rows = db.execute("SELECT name FROM memories WHERE state = 'ready'")
            return sorted({*self._lost, *(name for (name,) in rows)})

    def open(self, name: str) -> Memory:
        """Read a memory. Raises UnknownMemory, and what ``Memory.open`` raises."""
        if name in self._lost:
            path = self._memories / self._lost[name]
            problem = "catalog.sqlite does not list it any more"
            raise CorruptStore(str(path), problem, of_folder=True)
        with self._database.reading() as db:
            row = db.execute(
                "SELECT file FROM memories WHERE name = ? AND state = 'ready'", (name,)
            ).fetchone()
        if row is None:
            raise UnknownMemory(name)
        path = self._memories / row[0]
        if not path.exists():
            raise CorruptStore(str(path), "the file is missing")
        return Memory.open(path)

    def create(
        self,
        name: str,
        *,
        dimension: int,
        embedder: str | None,
        store_images: bool = False,
        request: Request | None = None,
    ) -> Memory | None:
        """A new memory; None where this request created it before.

        Raises MemoryExists, RequestReused, DiskFull.
        """

        def make(path: Path) -> Memory:
            identity = new_identity(name, dimension, embedder, store_images=store_images)
            return Memory.create(path, identity)

        return self._add(name, make, name, request)

    def recall(self, request: Request | None) -> Any:
        """What a request that made or dropped a memory was answered with before, or None.

        Raises RequestReused.
        """
        with self._database.reading() as db:
            return requests.recall(db, request)

    def check_free(self, name: str, request_id: str) -> None:
        """Refuse a name that is taken, unless a request of this id made the memory before.

        Raises MemoryExists.
        """
        with self._database.reading() as db:
            known = "SELECT 1 FROM requests WHERE request_id = ?"
            if not db.execute(known, (request_id,)).fetchone():
                self._check_free(db, name)

    def bury(self, uid: str, ids: Sequence[str]) -> int:
        """Note for good that these entries of a memory ``uid`` are unlearned; the tick.

        No backup of before brings them back from now on. Raises DiskFull.
        """
        with self._transaction() as db:
            return tombstones.bury(db, self._secret, uid, ids)

    def backup(
        self, memory: Memory, *, settings: Iterable[str], check: Callable[[], None]
    ) -> BinaryIO:
        """All of a memory as it is now, as an open file without a name.

        Entries that wait to be unlearned are not in it, nor ``settings`` where there are such.
        ``check`` is asked all the time, and may raise. Raises CorruptStore, DiskFull.
        """
        backup = secrets.token_hex(16)

        def begin(transaction: Transaction) -> None:
            with self._transaction() as db:
                tombstones.note_backup(db, backup)
            transaction.log("BackupMemory", transaction.count())

        with self._unlisted() as path:
            with memory.copying(path, check, begin) as replica:
                replica.write(
                    memory.identity,
                    memory.identity.name,
                    lambda transaction: transaction.keep_setting(NAME_SETTING, backup),
                    settings=settings,
                )
            return path.open("rb")

    def arrival(self) -> Arrival:
        """Where a backup can come in. Raises DiskFull."""
        return Arrival(self._new_path())

    @contextmanager
    def rebuilt(
        self, arrival: Arrival, name: str, *, settings: Iterable[str], check: Callable[[], None]
    ) -> Iterator[Rebuilt]:
        """A memory of this ``name`` from a backup, without what was unlearned since.

        Where something was, ``settings`` go as well. ``check`` is asked all the time, and may
        raise. Raises BadBackup, NewerStore, DiskFull.
        """
        with self._unlisted() as path:
            since = self._ticks()
            with of_backup():
                identity, unlearned = self._look_at(arrival.path, check)
                with Replica(arrival.path, path, check) as replica:
                    replica.begin()
                    left_out = replica.write(
                        identity,
                        name,
                        lambda transaction: transaction.log("RestoreMemory", transaction.count()),
                        leave_out=unlearned,
                        settings=settings,
                    )
            sync(path)
            yield Rebuilt(path, name, identity, left_out, since)

    @contextmanager
    def copied(
        self, memory: Memory, name: str, *, settings: Iterable[str], check: Callable[[], None]
    ) -> Iterator[Rebuilt]:
        """A memory of another ``name`` with all that this one holds now, as ``backup`` would.

        Raises CorruptStore, DiskFull.
        """
        with self._unlisted() as path:
            since = self._ticks()
            with memory.copying(path, check) as replica:
                left_out = replica.write(
                    memory.identity,
                    name,
                    lambda transaction: transaction.log("CopyMemory", transaction.count()),
                    settings=settings,
                )
            sync(path)
            yield Rebuilt(path, name, memory.identity, left_out, since)

    def adopt(self, rebuilt: Rebuilt, answer: Any, request: Request | None) -> Memory | None:
        """List a rebuilt memory and open it; None where this request did so before.

        Raises MemoryExists, RequestReused, DiskFull, Outdated.
        """

        def make(path: Path) -> Memory:
            with written(path):
                rebuilt.path.rename(path)
            return Memory.open(path)

        def check(db: sqlite3.Connection, memory: Memory) -> None:
            uid, since = rebuilt.identity.uid, rebuilt.since
            if any(tombstones.buried(db, self._secret, uid, memory.ids(), since)):
                raise Outdated

        return self._add(rebuilt.name, make, answer, request, check)

    def drop(self, name: str, *, request: Request | None = None) -> None:
        """Forget a memory. Its file goes when it is closed, by ``clear``.

        Raises UnknownMemory, RequestReused, DiskFull.
        """
        with self._transaction() as db:
            row = db.execute("DELETE FROM memories WHERE name = ? RETURNING file", (name,))
            dropped = row.fetchone() or (self._lost.get(name),)
            if dropped == (None,):
                raise UnknownMemory(name)
            db.execute("INSERT INTO dropped VALUES (?)", dropped)
            requests.keep(db, request, name)
        self._lost.pop(name, None)

    def clear(self) -> None:
        """Remove the files of memories that were dropped, or never finished. Raises DiskFull."""
        with self._transaction() as db:
            db.execute("INSERT INTO dropped SELECT file FROM memories WHERE state = 'creating'")
            db.execute("DELETE FROM memories WHERE state = 'creating'")
        with self._database.reading() as db:
            files = [file for (file,) in db.execute("SELECT file FROM dropped")]
        for file in files:
            remove_database(self._memories / file)
        if files:
            sync(self._memories)
            with self._transaction() as db:
                db.execute("DELETE FROM dropped")

    def _add(
        self,
        name: str,
        make: Callable[[Path], Memory],
        answer: Any,
        request: Request | None,
        check: Callable[[sqlite3.Connection, Memory], None] = lambda db, memory: None,
    ) -> Memory | None:
        """List what ``make`` makes of a path, unless ``check`` refuses it at last.

        None where this request was answered before. Raises MemoryExists, RequestReused.
        """
        self.clear()  # a disk that was full may have kept the last one from being undone
        file = f"{name}.{secrets.token_hex(4)}.sqlite"
        with self._transaction() as db:
            if requests.recall(db, request) is not None:
                return None
            self._check_free(db, name)
            db.execute("INSERT INTO memories VALUES (?, ?, 'creating')", (name, file))
        memory = None
        try:
            memory = make(self._memories / file)
            sync(self._memories)
            with self._transaction() as db:
                check(db, memory)
                db.execute("UPDATE memories SET state = 'ready' WHERE name = ?", (name,))
                requests.keep(db, request, answer)
        except BaseException:
            if memory is not None:
                memory.close()
            self.clear()
            raise
        return memory

    def _look_at(self, path: Path, check: Callable[[], None]) -> tuple[Identity, list[str]]:
        """Whose backup this is, and what of it was unlearned since.

        Raises CorruptStore, NewerStore, BadAuditLog.
        """
        check_tables(path)
        with closing(SqliteStore(path)) as store:
            store.complete()
            identity, backup = store.identity(), store.settings().get(NAME_SETTING, "")
            with store.contents() as contents:
                contents.check_file(check)
                check_end(contents, identity.name, identity.kind)
                with self._database.reading() as db:
                    since = tombstones.tick_of_backup(db, backup)
                    ids = contents.ids()
                    return identity, list(
                        tombstones.buried(db, self._secret, identity.uid, ids, since)
                    )

    @contextmanager
    def _unlisted(self) -> Iterator[Path]:
        """Where a file can be made; it goes in the end unless it was listed."""
        path = self._new_path()
        try:
            yield path
        finally:
            remove_database(path)

    def _new_path(self) -> Path:
        return self._unfinished / f"{secrets.token_hex(8)}.sqlite"

    def _ticks(self) -> int:
        with self._database.reading() as db:
            return tombstones.ticks(db)

    def _read_secret(self) -> bytes:
        """The one by which tombstones are made, which is made with the folder."""
        path = self.folder / SECRET
        with self._transaction() as db:
            if not tombstones.needs_secret(db):
                secret.make(path)
            found = secret.read(path)
            tombstones.check_secret(db, found, str(path))
        return found

    def _check(self) -> None:
        """Raises CorruptStore, which names what the list has lost."""
        try:
            self._database.check()
        except CorruptStore as damage:
            lost = f"; it has lost {listed(sorted(self._lost.values()))}" if self._lost else ""
            raise CorruptStore(damage.path, damage.problem + lost) from damage

    def _find_lost(self) -> dict[str, str]:
        """Files that no memory is listed with, by its name, or by theirs where that is taken."""
        with self._database.reading() as db:
            known = dict(db.execute(FILES).fetchall())
        taken, lost = set(known.values()), dict[str, str]()
        for path in sorted(self._memories.glob("*.sqlite")):
            if path.name not in known:
                name = path.stem.rpartition(".")[0]
                lost[path.stem if name in {"", *taken, *lost} else name] = path.name
        return lost

    def _check_free(self, db: sqlite3.Connection, name: str) -> None:
        """Raises MemoryExists."""
        row = db.execute("SELECT 1 FROM memories WHERE name = ?", (name,)).fetchone()
        if row or name in self._lost:
            raise MemoryExists(name)

    def _clear_unfinished(self) -> None:
        self._unfinished.mkdir(mode=0o700, exist_ok=True)
        for path in self._unfinished.iterdir():
            path.unlink()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing, self._database.transaction() as db:
            yield db


def check_not_emptied(path: Path, memories: Path) -> None:
    """Refuse a list that has nothing in it, not even tables, where there are files of memories.

    Raises CorruptStore.
    """
    if path.exists() and not path.stat().st_size and any(memories.glob("*.sqlite")):
        raise CorruptStore(str(path), "it is empty, and memories are there")


@contextmanager
def of_backup() -> Iterator[None]:
    """Say of what is wrong with the file of a backup that it is a backup."""
    try:
        with damage_of(Path()):
            yield
    except (BadAuditLog, CorruptStore) as bad:
        raise BadBackup(bad.problem) from bad
    except NewerStore as newer:
        raise NewerStore("The backup", newer.found, newer.known) from newer


class FolderLock:
    """A data folder held by one process, until it closes or dies. Raises FolderInUse."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise FolderInUse(str(folder), owner or "unknown") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Give the lock up."""
        os.close(self._file)
