"""The data folder: its layout and its lock."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from visual_memory_index.errors import FolderInUse, LostCatalog
from visual_memory_index.files.database import schema_of

CATALOG, MEMORIES, LATEST, UNFINISHED = "catalog.sqlite", "memories", "noted", "unfinished"
SECRET = Path("keys") / "tombstones.key"


def was_used(folder: Path) -> bool:
    """Return True if a server used it: it has memories, or the catalog's secret."""
    return (folder / SECRET).exists() or any((folder / MEMORIES).glob("*.sqlite"))


def check_not_lost(folder: Path) -> None:
    """Check that a used folder has its list of memories. Raises LostCatalog."""
    path = folder / CATALOG
    if was_used(folder) and not schema_of(path):
        raise LostCatalog(str(path))


def new_name(memory: str) -> str:
    """Return the name of a new file for a memory."""
    return f"{memory}.{secrets.token_hex(4)}.sqlite"


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
        """Release the lock."""
        os.close(self._file)
