"""Room on the disk that is kept for what frees room: deleting and erasing."""

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
    """A file in the data folder that has no other use than the room that it takes.

    It is a help and no promise: where it cannot be had, all goes on without.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Take room up to its size, where there is any to spare."""
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
        """Let others have the room; whether there was any."""
        with self._lock, suppress(OSError):
            size = self._path.stat().st_size
            self._path.unlink()
            return size > 0
        return False

    def freeing(self, act: Callable[[], T]) -> T:
        """What ``act`` does, which frees room, if need be in what was reserved for that."""
        try:
            return act()
        except DiskFull:
            if not self.give_up():
                raise
            return act()
