"""What a data folder notes of each memory, so that an older file in its place is known.

The catalog has it for good. A small file beside it has where the memory stood after its last
commit: it is written then and not synced, so no write waits for it. A process that is killed loses
nothing of that, and a power loss some seconds; it is never ahead of what is on the disk.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from visual_memory_index.files.database import has_log
from visual_memory_index.files.disk import read_small, written
from visual_memory_index.ledger.standing import Noted, Standing

CHECK_CHARACTERS = 16


def read(db: sqlite3.Connection, file: str) -> Noted | None:
    """What the catalog has noted of a memory by its file."""
    query = "SELECT uid, size, last, erasing FROM noted WHERE file = ?"
    row = db.execute(query, (file,)).fetchone()
    return Noted(row[0], Standing(*row[1:3]), row[3]) if row else None


def keep(db: sqlite3.Connection, file: str, noted: Noted) -> None:
    """Note this of a memory that is listed, unless it is known."""
    if noted != read(db, file):
        db.execute(
            "INSERT OR REPLACE INTO noted SELECT file, ?, ?, ?, ? FROM memories WHERE file = ?",
            (noted.uid, *noted.kept, noted.erasing, file),
        )


class Latest:
    """The small files in a ``folder``, one for each file in ``memories``, and named like it."""

    def __init__(self, folder: Path, memories: Path) -> None:
        self._folder, self._memories = folder, memories
        folder.mkdir(mode=0o700, exist_ok=True)

    def keep(self, file: str, standing: Standing) -> None:
        """Write where a memory stands, over what was there, in one go."""
        with suppress(OSError):  # a full disk, say: the next write notes it, and the write is done
            text = f"{standing.size:020} {standing.last} {self._modified(file):020}"
            data = f"{text} {check_of(text)}\n".encode()
            descriptor = os.open(self._path(file), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, data, 0)
            finally:
                os.close(descriptor)

    def add_to(self, noted: Noted | None, file: str) -> Noted | None:
        """What is noted, with what the small file says where it is there and whole."""
        try:
            text, _, check = read_small(self._path(file)).decode("latin-1").rpartition(" ")
        except OSError:
            return noted
        if noted is None or check != f"{check_of(text)}\n":
            return noted
        size, last, modified = text.split(" ")
        return replace(noted, latest=Standing(int(size), last), modified=int(modified))

    def may_be_mixed(self, noted: Noted | None, file: str) -> bool:
        """Whether a log lies beside a file that is perhaps not the one that it goes on from."""
        if noted is None or not has_log(self._memories / file):
            return False
        return noted.modified != self._modified(file)

    def has(self, file: str) -> bool:
        """Whether a memory was ever ready, by its file."""
        return self._path(file).exists()

    def drop(self, file: str) -> None:
        """Let go of a memory that was dropped. Raises NotWritten."""
        with written(self._path(file)):
            self._path(file).unlink(missing_ok=True)

    def _modified(self, file: str) -> int:
        return (self._memories / file).stat().st_mtime_ns

    def _path(self, file: str) -> Path:
        return self._folder / file.removesuffix(".sqlite")


def check_of(text: str) -> str:
    """What tells a whole line from one that was torn."""
    return sha256(text.encode("latin-1")).hexdigest()[:CHECK_CHARACTERS]
