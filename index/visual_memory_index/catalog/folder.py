"""The data folder: its layout, its lock, its reserve and its unfinished files."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from visual_memory_index.errors import DiskFull, FolderInUse, ForeignFolder
from visual_memory_index.files.disk import (
    make_folder,
    open_to_write,
    read_small,
    remove_database,
    translate_os_errors,
)

T = TypeVar("T")

CATALOG, MEMORIES, LATEST, UNFINISHED = "catalog.sqlite", "memories", "noted", "unfinished"
SECRET = Path("keys") / "tombstones.key"
LOCK, RESERVE = "server.lock", "reserve"
MADE_BY_THE_SYSTEM = "lost+found"
FOLDERS = {MEMORIES, LATEST, UNFINISHED, SECRET.parts[0], "cache"}
# Names of files that a crash left, of ours and of SQLite's.
LEFT = re.compile(r"[0-9a-f]{16}\.sqlite(-wal|-shm|-journal)?|etilqs_.*")
RESERVE_BYTES_MAX = 1 << 22
RESERVE_SHARE = 8  # 1/8 of the free space, or it would fill a small disk


def was_used(folder: Path) -> bool:
    """Return True if a server has used the folder: it has memories, or the catalog's secret."""
    return (folder / SECRET).exists() or any((folder / MEMORIES).glob("*.sqlite"))


def check_folder(folder: Path) -> None:
    """Raise ForeignFolder if a folder has neither ``CATALOG``, nor memories, nor their secret, but
    something else than a first start leaves that is cut short.

    A folder that is missing may become a data folder, as may one that is empty but for hidden
    files, or that of a new disk. Raises OSError if it is no folder, or cannot be read.
    """
    there = folder.exists() or folder.is_symlink()  # perhaps to nothing, which is an error
    found = sorted(folder.iterdir()) if there else []
    if not (folder / CATALOG).is_file() and not was_used(folder):
        for path in found:
            if not may_be_left(path):
                raise ForeignFolder(str(folder), path.name)


def may_be_left(path: Path) -> bool:
    """Return True for what the system puts into a folder, hidden files, and what a first start
    leaves that is cut short.
    """
    if path.name == LOCK:
        return path.is_file() and re.fullmatch(rb"\d*", read_small(path)) is not None
    if path.name == RESERVE:
        return path.is_file() and not any(path.read_bytes())
    if path.name == MEMORIES:
        return path.is_dir() and not any(path.iterdir())
    named = path.name == MADE_BY_THE_SYSTEM or path.name.startswith(".")
    return named or (path.name in FOLDERS and path.is_dir())


def new_name(memory: str) -> str:
    """Return a new file name for a memory: its name with a random part."""
    return f"{memory}.{secrets.token_hex(4)}.sqlite"


class FolderLock:
    """A lock on a data folder, held until closed or the process ends. Raises FolderInUse.

    The folder itself is locked, since its file ``server.lock``, which names the process, may be
    lost. The file is locked as well, for servers from before, which lock it alone.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK
        with translate_os_errors(path, opening=True), ExitStack() as undo:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, opened)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file = undo.enter_context(open(open_to_write(path), "wb", buffering=0))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderInUse(str(folder), owner(path)) from None
            file.truncate()
            file.write(str(os.getpid()).encode())
            self.close = undo.pop_all().close


def owner(path: Path) -> str:
    """Return the number of the process that a file ``server.lock`` names, or "unknown"."""
    with suppress(OSError):
        return read_small(path).decode(errors="replace").strip() or "unknown"
    return "unknown"


class Reserve:
    """A file that reserves up to 4 MiB of disk space for deleting and unlearning, which need some.

    If disk space is short, the file is smaller or missing, and no error is raised.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Grow the file to its full size, as far as there is space to spare."""
        with self._lock, suppress(OSError):
            found = os.statvfs(self._path.parent)
            size = min(found.f_bavail * found.f_frsize // RESERVE_SHARE, RESERVE_BYTES_MAX)
            file = open_to_write(self._path)
            try:
                if os.fstat(file).st_size < size:
                    os.posix_fallocate(file, 0, size)
            finally:
                os.close(file)

    def give_up(self) -> bool:
        """Remove the file; return True if it took any space."""
        with self._lock, suppress(OSError):
            size = self._path.stat().st_size
            self._path.unlink()
            return size > 0
        return False

    def freeing(self, act: Callable[[], T]) -> T:
        """Run ``act``, which frees disk space; on DiskFull remove the reserve and run it again."""
        try:
            return act()
        except DiskFull:
            if not self.give_up():
                raise
            return act()


class Unfinished:
    """A folder for files that no catalog lists yet; creating the object removes those left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)
        for path in folder.iterdir():
            if LEFT.fullmatch(path.name) and (path.is_symlink() or not path.is_dir()):
                path.unlink()

    def path(self) -> Path:
        """Return a new path in the folder."""
        return self._folder / f"{secrets.token_hex(8)}.sqlite"

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Yield a new path, and remove the file at the end unless it was moved away."""
        path = self.path()
        try:
            yield path
        finally:
            remove_database(path)
