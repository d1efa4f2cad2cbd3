"""The memories of one data folder: which there are, and in which file each lies."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from visual_memory_index import request as requests
from visual_memory_index.database import Database
from visual_memory_index.errors import CorruptStore, FolderInUse, MemoryExists, UnknownMemory
from visual_memory_index.memory import Memory
from visual_memory_index.migrations import CATALOG_STEPS
from visual_memory_index.request import Request
from visual_memory_index.store import new_identity


class Catalog:
    """A folder locked for this process; its list of memories is the truth, files follow it.

    A memory is listed as ``creating`` before its file is made, and moved to ``dropped`` before its
    file goes, so that opening can finish what a crash cut short. The caller lets one thread at a
    time into ``create`` and ``drop``. Raises FolderInUse, CorruptStore, NewerStore.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._memories = folder / "memories"
        self._memories.mkdir(parents=True, exist_ok=True)
        self._lock = LockFile(folder / "server.lock")
        try:
            self._database = Database(folder / "catalog.sqlite", CATALOG_STEPS)
            try:
                self._finish()
            except BaseException:
                self._database.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let another server have the folder."""
        self._database.close()
        self._lock.close()

    def names(self) -> list[str]:
        """The memories that exist, sorted."""
        with self._database.reading() as db:
            rows = db.execute("SELECT name FROM memories WHERE state = 'ready' ORDER BY name")
            return [name for (name,) in rows]

    def open(self, name: str) -> Memory:
        """Read a memory. Raises UnknownMemory, CorruptStore, NewerStore."""
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
        self._finish()  # a disk that was full may have kept the last one from being undone
        file = f"{name}.{secrets.token_hex(4)}.sqlite"
        with self._database.transaction() as db:
            if requests.recall(db, request) is not None:
                return None
            if db.execute("SELECT 1 FROM memories WHERE name = ?", (name,)).fetchone():
                raise MemoryExists(name)
            db.execute("INSERT INTO memories VALUES (?, ?, 'creating')", (name, file))
        memory = None
        try:
            identity = new_identity(name, dimension, embedder, store_images=store_images)
            memory = Memory.create(self._memories / file, identity)
            self._sync_folder()
            with self._database.transaction() as db:
                db.execute("UPDATE memories SET state = 'ready' WHERE name = ?", (name,))
                requests.keep(db, request, name)
        except BaseException:
            if memory is not None:
                memory.close()
            self._finish()
            raise
        return memory

    def was_dropped(self, request: Request | None) -> bool:
        """Whether this request dropped its memory before. Raises RequestReused."""
        with self._database.reading() as db:
            return requests.recall(db, request) is not None

    def drop(self, name: str, *, request: Request | None = None) -> None:
        """Forget a memory, which must be closed, with its file. Raises UnknownMemory."""
        with self._database.transaction() as db:
            row = db.execute("DELETE FROM memories WHERE name = ? RETURNING file", (name,))
            dropped = row.fetchone()
            if dropped is None:
                raise UnknownMemory(name)
            db.execute("INSERT INTO dropped VALUES (?)", dropped)
            requests.keep(db, request, name)
        self._finish()

    def _finish(self) -> None:
        """Remove the files of memories that were dropped, or never finished."""
        with self._database.transaction() as db:
            db.execute("INSERT INTO dropped SELECT file FROM memories WHERE state = 'creating'")
            db.execute("DELETE FROM memories WHERE state = 'creating'")
        with self._database.reading() as db:
            files = [file for (file,) in db.execute("SELECT file FROM dropped")]
        for file in files:
            for suffix in ("", "-wal", "-shm"):
                (self._memories / f"{file}{suffix}").unlink(missing_ok=True)
        if files:
            self._sync_folder()
            with self._database.transaction() as db:
                db.execute("DELETE FROM dropped")

    def _sync_folder(self) -> None:
        folder = os.open(self._memories, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class LockFile:
    """Held by one process until it closes or dies. Raises FolderInUse."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._file, 32, 0).decode().strip()
            os.close(self._file)
            raise FolderInUse(str(path.parent), owner or "unknown") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Give the lock up."""
        os.close(self._file)
