"""Writing of files and folders so that they survive a power loss."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from visual_memory_index.errors import DiskFull, FileUnavailable, TooManyFiles, WriteFailed

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TOO_MANY = (errno.EMFILE, errno.ENFILE)
FILES_LEFT = 40  # 8 are of a memory
PROBE_BYTES = 16_384
SMALL_BYTES = 1 << 20


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone, with its parents, synced to disk.

    Raises OSError if one cannot be made, FileUnavailable if it cannot be synced.
    """
    for each in reversed([each for each in (path, *path.parents) if not each.exists()]):
        each.mkdir(mode=0o700, exist_ok=True)
        sync(each.parent)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def open_to_write(path: Path) -> int:
    """Open a file for writing, and return its descriptor, which the caller closes.

    A missing file is made, for its owner alone. Raises OSError, also if the file is a FIFO that
    nobody reads.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def new_file(path: Path) -> BinaryIO:
    """Create a file that only its owner may read and write, and return it open for writing.

    Raises FileUnavailable, also if the file exists.
    """
    with translate_os_errors(path):
        return open(path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600))


def write_private(path: Path, data: bytes) -> None:
    """Write a file for its owner alone, atomically and synced, making its folder if needed.

    Raises FileUnavailable.
    """
    part = path.with_name(f".{path.name}.part")
    with translate_os_errors(path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part.unlink(missing_ok=True)  # left by an interrupted start
        with new_file(part) as file:
            file.write(data)
        sync(part)
        part.replace(path)
        sync(path.parent)
        sync(path.parent.parent)


def read_small(path: Path) -> bytes:
    """Read a file of a few lines.

    Raises OSError, also if the file is a FIFO or a device, whose content might not end.
    """
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return file.read(SMALL_BYTES)


def database_files(path: Path) -> tuple[Path, Path, Path]:
    """Return the paths of a database file, its write-ahead log, and the index of the log."""
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    return path, log, index


def copy_database(path: Path, to: Path) -> None:
    """Copy a database that nobody has open, with its write-ahead log. Raises FileUnavailable."""
    for source, copy in zip(database_files(path)[:2], database_files(to)[:2], strict=True):
        if source.exists():
            with source.open("rb") as read, new_file(copy) as file, translate_os_errors(copy):
                shutil.copyfileobj(read, file)


def remove_database(path: Path) -> None:
    """Remove a database file with all that SQLite keeps beside it. Raises FileUnavailable."""
    with translate_os_errors(path):
        for file in (*database_files(path), path.with_name(f"{path.name}-journal")):
            file.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """fsync a file, or the entries of a folder. Raises FileUnavailable."""
    with translate_os_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def translate_os_errors(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Re-raise OSErrors as FileUnavailable, about the file at ``path``, or as MemoryError.

    ``opening`` is True if the file is only read, so that the message does not mention a write.
    """
    try:
        yield
    except OSError as problem:
        raise file_unavailable(path, problem, opening=opening) from problem


def check_files_left(path: Path) -> None:
    """Raise TooManyFiles unless FILES_LEFT files can be opened, the one at ``path`` among them.

    Without any left, erasures wait, and gRPC takes no connections, or ends the process as it
    starts. Connections and other threads may take some of them meanwhile.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return
    free = 0
    for descriptor in reversed(range(most)):  # the lowest are taken first, so these are often free
        try:
            os.get_inheritable(descriptor)
        except OSError:
            free += 1
        if free == FILES_LEFT:
            return
    raise TooManyFiles(path, os.strerror(errno.EMFILE).lower())


def file_unavailable(path: Path, problem: OSError, *, opening: bool = False) -> FileUnavailable:
    """Return the refusal for an OSError about a file.

    ``opening`` is True if the file was only to be read. Raises MemoryError if memory ran out.
    """
    if problem.errno == errno.ENOMEM:
        raise MemoryError from problem
    complaint = (problem.strerror or str(problem)).lower()
    if problem.errno in TOO_MANY:
        return TooManyFiles(path, complaint)
    kind = DiskFull if problem.errno in NO_ROOM else WriteFailed
    return kind(path, complaint, opening=opening)


def probe_folder(folder: Path) -> OSError | None:
    """Write a small temporary file in a folder; return the OSError that this raises, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        return problem
    return None
