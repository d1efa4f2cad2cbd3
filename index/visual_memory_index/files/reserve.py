"""Disk space kept in reserve for deleting and unlearning, which free space."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from visual_memory_index.errors import DiskFull

T = TypeVar("T")

RESERVE_BYTES_MAX = 1 << 22
RESERVE_SHARE = 8  # of what is free, or a small disk would be full of it


class Reserve:
    """A file in the data folder that only takes space, up to 4 MiB.

    It is best effort: where there is no space for it, all goes on without.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Grow the file to its full size, as far as there is space to spare."""
        with self._lock, suppress(OSError):
            found = os.statvfs(self._path.parent)
            size = min(found.f_bavail * found.f_frsize // RESERVE_SHARE, RESERVE_BYTES_MAX)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(file).st_size < size:
                    os.posix_fallocate(file, 0, size)
            finally:
                os.close(file)

    def give_up(self) -> bool:
        """Remove the file; True if it took any space."""
        with self._lock, suppress(OSError):
            size = self._path.stat().st_size
            self._path.unlink()
            return size > 0
        return False

    def freeing(self, act: Callable[[], T]) -> T:
        """Run ``act``, which frees disk space, and on a full disk once more without the reserve."""
        try:
            return act()
        except DiskFull:
            if not self.give_up():
                raise
            return act()
