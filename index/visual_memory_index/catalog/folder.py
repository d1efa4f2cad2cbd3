"""The data folder: its layout, its lock, its reserve and its unfinished files."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TypeVar

from visual_memory_index.errors import (
    CorruptStore,
    DiskFull,
    FolderInUse,
    ForeignFolder,
    LostCatalog,
    NewerStore,
    OthersFolder,
)
from visual_memory_index.files.database import has_log, translate_errors
from visual_memory_index.files.disk import (
    database_files,
    make_folder,
    open_to_write,
    read_small,
    remove_database,
    translate_os_errors,
)
from visual_memory_index.files.migrations import CATALOG_STEPS, check_ours, schema

T = TypeVar("T")

CATALOG, MEMORIES, LATEST, UNFINISHED = "catalog.sqlite", "memories", "noted", "unfinished"
SECRET = Path("keys") / "tombstones.key"
API_KEYS = Path("keys") / "api-keys.json"  # of callers, which may be made before a server starts
NEEDS_KEYS = API_KEYS.with_name("needed")  # there once callers had keys, also where they are lost
LOCK, RESERVE = "server.lock", "reserve"
MADE_BY_THE_SYSTEM = "lost+found"
CATALOG_FILES = {CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm", f"{CATALOG}-journal"}
FOLDERS = {MEMORIES, LATEST, UNFINISHED, SECRET.parts[0], "cache"}
# Names of files that a crash left, of ours and of SQLite's.
MEMORY = re.compile(r".+\.[0-9a-f]{8}\.sqlite")
LEFT = re.compile(r"[0-9a-f]{16}\.sqlite(-wal|-shm|-journal)?|etilqs_.*")
RESERVE_BYTES_MAX = 1 << 22
NEW_BYTES_MAX = 1 << 24  # of a catalog, or its log, that a first start leaves
RESERVE_SHARE = 8  # 1/8 of the free space, or it would fill a small disk


def was_used(folder: Path) -> bool:
    """Return True if a server has used the folder: it has memories, or the catalog's secret."""
    files = (folder / MEMORIES).glob("*.sqlite")
    return (folder / SECRET).exists() or any(MEMORY.fullmatch(path.name) for path in files)


def check_folder(folder: Path) -> None:
    """Raise ForeignFolder if no server has used a folder, and it has other things than those which
    a first start leaves that is cut short; LostCatalog if a server has, and its catalog is missing.

    A folder that is missing may become a data folder, as may one that is empty but for hidden
    files, or that of a new disk. Raises OSError if it is no folder, cannot be read, or has a folder
    that cannot be written to, and FileUnavailable.
    """
    there = folder.exists() or folder.is_symlink()  # perhaps to nothing, which is an error
    found = sorted(folder.iterdir()) if there else []
    catalog = folder / CATALOG
    for path in (folder / name for name in (MEMORIES, LATEST, UNFINISHED)):
        if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if was_used(folder):
        if not catalog.exists():
            raise LostCatalog(catalog)
    elif not (version := schema_of_catalog(catalog) if catalog.is_file() else None):
        for path in found:
            if not may_be_left(path, version):
                raise ForeignFolder(str(folder), path.name)


def schema_of_catalog(path: Path) -> int | None:
    """Return the schema version of a catalog, 0 if it has no tables yet, None if it is none.

    A small one with a log is read from a copy, since SQLite would change what is beside it; of a
    large one the log cannot be needed, and no first start leaves a large log with a small one.
    Raises OSError and FileUnavailable.
    """
    with ExitStack() as undo:
        uri, files = f"{path.absolute().as_uri()}?immutable=1", database_files(path)[:2]
        large, large_log = (each.exists() and each.stat().st_size > NEW_BYTES_MAX for each in files)
        if large_log and not large:
            return None
        if has_log(path) and not large:
            folder = Path(undo.enter_context(TemporaryDirectory()))
            for each in files:
                shutil.copyfile(each, folder / each.name)
            uri = (folder / path.name).as_uri()
        try:
            with translate_errors(path), closing(sqlite3.connect(uri, uri=True)) as db:
                version: int = db.execute("PRAGMA user_version").fetchone()[0]
                if not schema(db):
                    return None if version else 0
                check_ours(db, CATALOG_STEPS, path)
        except CorruptStore:
            return None
        except NewerStore as newer:
            return newer.found
        return version


def may_be_left(path: Path, schema_version: int | None) -> bool:
    """Return True for hidden files, what the system puts into a folder, and what a first start
    leaves that is cut short; ``schema_version`` is that of the catalog there.
    """
    if path.name.startswith(".") or path.name == MADE_BY_THE_SYSTEM:
        return True
    if path.name in FOLDERS:
        inside = [each.name for each in path.iterdir()] if path.is_dir() else [path.name]
        ours = {API_KEYS.name, NEEDS_KEYS.name} if path.name == API_KEYS.parts[0] else ()
        return all(name.startswith(".") or name in ours or LEFT.fullmatch(name) for name in inside)
    if not path.is_file():
        return False
    if path.name == LOCK:
        return re.fullmatch(rb"[\d\s\0]*", read_small(path)) is not None
    if path.name == RESERVE:
        return path.stat().st_size <= RESERVE_BYTES_MAX and not any(path.read_bytes())
    return path.name in CATALOG_FILES and schema_version == 0


def new_name(memory: str) -> str:
    """Return a new file name for a memory: its name with a random part."""
    return f"{memory}.{secrets.token_hex(4)}.sqlite"


class FolderLock:
    """A lock on a data folder, held until closed or the process ends.

    Raises FolderInUse, and OthersFolder if a server of another user has used the folder.

    The folder itself is locked, since its file ``server.lock``, which names the process, may be
    lost. The file is locked as well, for servers from before, which lock it alone.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK
        with translate_os_errors(path, opening=True), ExitStack() as undo:
            check_owner(folder)
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


def check_owner(folder: Path) -> None:
    """Raise OthersFolder if the catalog of a folder has another owner than a new file has there.

    A mount may give all files one owner, whoever makes them.
    """
    with suppress(FileNotFoundError):
        user = (folder / CATALOG).stat().st_uid
        if user != os.geteuid():
            with TemporaryFile(dir=folder) as new:
                if os.fstat(new.fileno()).st_uid != user:
                    raise OthersFolder(str(folder), user)


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

    @property
    def is_there(self) -> bool:
        """True if the file takes any space."""
        with suppress(OSError):
            return self._path.stat().st_size > 0
        return False

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
