"""Files and folders, and what they need to be there after a power loss."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from visual_memory_index.errors import DiskFull, NotWritten, TooManyFiles, WriteFailed

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TOO_MANY = (errno.EMFILE, errno.ENFILE)
PROBE_BYTES = 16_384
SMALL_BYTES = 1 << 20


def make_folder(path: Path) -> None:
    """Have a folder for its owner alone on disk, with those that it lies in.

    Raises OSError, NotWritten.
    """
    for each in reversed([each for each in (path, *path.parents) if not each.exists()]):
        each.mkdir(mode=0o700, exist_ok=True)
        sync(each.parent)


def new_file(path: Path) -> BinaryIO:
    """A file for its owner alone, to be written. Raises NotWritten."""
    with written(path):
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def write_private(path: Path, data: bytes) -> None:
    """Have a file for its owner alone on disk, whole or not at all, in a folder like it.

    Raises NotWritten.
    """
    part = path.with_name(f".{path.name}.part")
    with written(path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part.unlink(missing_ok=True)  # of a start that was cut short
        with new_file(part) as file:
            file.write(data)
        sync(part)
        part.replace(path)
        sync(path.parent)
        sync(path.parent.parent)


def read_small(path: Path) -> bytes:
    """A file of a few lines; a FIFO or a device might have no end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return file.read(SMALL_BYTES)


def copy_database(path: Path, to: Path) -> None:
    """A database that nobody has open, with its log, in another place. Raises NotWritten."""
    for suffix in ("", "-wal"):
        source, copy = (each.with_name(each.name + suffix) for each in (path, to))
        if source.exists():
            with source.open("rb") as read, new_file(copy) as file, written(copy):
                shutil.copyfileobj(read, file)


def remove_database(path: Path) -> None:
    """A database file with all that SQLite keeps beside it. Raises NotWritten."""
    with written(path):
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk. Raises NotWritten."""
    with written(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """The system's complaints about a file in our words. Raises MemoryError, NotWritten."""
    try:
        yield
    except OSError as problem:
        raise not_written(path, problem) from problem


@contextmanager
def opened(path: Path) -> Iterator[None]:
    """Like ``written``, for what only looks. Raises MemoryError, NotWritten."""
    try:
        yield
    except OSError as problem:
        raise not_written(path, problem, opening=True) from problem


def not_written(path: Path, problem: OSError, *, opening: bool = False) -> NotWritten:
    """What the system says of a file that could not be written. Raises MemoryError."""
    if problem.errno == errno.ENOMEM:
        raise MemoryError from problem
    complaint = (problem.strerror or str(problem)).lower()
    if problem.errno in TOO_MANY:
        return TooManyFiles(str(path), complaint)
    kind = DiskFull if problem.errno in NO_ROOM else WriteFailed
    return kind(str(path), complaint, opening=opening)


def trouble_in(folder: Path) -> OSError | None:
    """What the system says to a small file written there, which goes at once."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        return problem
    return None
