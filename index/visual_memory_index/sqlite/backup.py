"""Backups: the times of those made, and the database of one received from elsewhere."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Self

from visual_memory_index.errors import BadBackup
from visual_memory_index.files.disk import new_file, remove_database, translate_os_errors

BEGINNING = b"SQLite format 3\0"
NAME_SETTING = "backup"  # the setting that identifies a backup


class IncomingBackup:
    """A database received piece by piece, into a file that ``close`` removes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = new_file(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # buffered bytes that a full disk refuses
            self._file.close()
        remove_database(self.path)

    def write(self, piece: bytes | memoryview) -> None:
        """Append the next piece, of any length.

        Raises FileUnavailable, and BadBackup if the first piece does not begin like an SQLite file.
        """
        begins = bytes(piece[: len(BEGINNING)]) == BEGINNING[: len(piece)]
        if not begins and not self._file.tell():
            raise BadBackup("it is another kind of file")
        with translate_os_errors(self.path):
            self._file.write(piece)

    def finish(self) -> None:
        """Close the file after the last piece. Raises FileUnavailable."""
        with translate_os_errors(self.path):
            self._file.close()


def backup_times(db: sqlite3.Connection) -> list[int]:
    """Return the times of a memory's backups in its audit log, in microseconds since 1970."""
    rows = db.execute(
        "SELECT json_extract(event, '$.time') FROM audit "
        "WHERE json_extract(event, '$.call') = 'BackupMemory'"
    )
    return [time for (time,) in rows]
