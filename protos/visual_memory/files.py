"""Files given as arguments; errors name the argument."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from visual_memory.errors import AlreadyExists, refuse

SECRET = re.compile(r"vm_[0-9a-f]{12}_|-----BEGIN ")  # a key of a caller, or PEM


def file_size(file: str | os.PathLike[str], field: str) -> int:
    """Return the size of a file in bytes.

    Raises InvalidArgument, naming the argument ``field``, if it is missing or a folder.
    """
    check_path(file, field)
    with refusing(file, field):
        found = os.stat(file)
    if stat.S_ISDIR(found.st_mode):
        refuse(field, f"is a folder: {os.fspath(file)}", separator=": ")
    return found.st_size


def read_file(file: str | os.PathLike[str], field: str) -> bytes:
    """Read a file. Raises InvalidArgument, naming the argument ``field``, if it cannot be read."""
    check_path(file, field)
    with refusing(file, field), open(file, "rb") as opened:
        return opened.read()


def others_can_read(file: str | os.PathLike[str]) -> bool:
    """Return True if any user of the machine may read a file, by its mode and its folders'.

    False if that cannot be known, as where modes say nothing (Windows).
    """
    if os.name != "posix":
        return False
    path = Path(file).resolve()
    try:
        reached = all(each.stat().st_mode & stat.S_IXOTH for each in path.parents)
        return reached and bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def check_path(file: str | os.PathLike[str], field: str) -> None:
    """Raise InvalidArgument, naming the argument ``field``, unless ``file`` is a path.

    A descriptor is refused, too, although ``open`` would accept it.
    """
    name = os.fspath(file) if isinstance(file, str | os.PathLike) else None
    if isinstance(name, str) and SECRET.search(name):
        refuse(
            field,
            "must be the path of a file, but is a key or PEM itself, which is not repeated here: "
            "save it in a file, and name that (a key may also be the value of "
            "VISUAL_MEMORY_API_KEY; in Python, of api_key)",
        )
    if not isinstance(name, str) or "\0" in name:
        refuse(field, f"must be the path of a file, but is {file!r:.80}")


@contextmanager
def refusing(file: str | os.PathLike[str], field: str) -> Iterator[None]:
    """Context manager: turn an OSError of the block into InvalidArgument.

    The error names the argument ``field``, and ``file``, which the block uses.
    """
    try:
        yield
    except OSError as problem:
        missing = isinstance(problem, FileNotFoundError)
        why = "no such file" if missing else (problem.strerror or str(problem)).lower()
        refuse(field, f"{why}: {os.fspath(file)}", separator=": ")


class NamedOutput:
    """An open temporary file; a failed ``write`` raises InvalidArgument, naming ``path``.

    The ``path`` is the name that the file will get.
    """

    def __init__(self, file: FileIO, path: Path) -> None:
        self._file, self._path = file, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        with refusing(self._path, "path"):
            while rest:
                rest = rest[self._file.write(rest) :]
        return memoryview(data).nbytes


@contextmanager
def whole_file(file: str | os.PathLike[str], *, overwrite: bool) -> Iterator[BinaryIO]:
    """Context manager: open a temporary file that becomes ``file`` if the block succeeds.

    It is synced to disk, or removed if the block raises. Raises AlreadyExists if ``file`` exists,
    unless ``overwrite``, and InvalidArgument if it cannot be written, such as in place of a folder.
    """
    check_path(file, "path")
    path = Path(file)
    if os.path.exists(path) and not path.is_file():
        why = "is a directory" if path.is_dir() else "is no file that could be replaced"
        refuse("path", f"{why}: {os.fspath(file)}", separator=": ")
    if overwrite and os.path.islink(path):
        path = path.resolve()
    part = path.parent / f".{secrets.token_hex(8)}.part"
    if not overwrite:
        check_free(path)
    opened = None
    try:
        with open(part, "xb", buffering=0) as opened:  # so that closing it writes nothing
            yield cast("BinaryIO", NamedOutput(opened, path))
            with refusing(path, "path"):
                os.fsync(opened.fileno())
        with refusing(path, "path"):
            if overwrite:
                os.replace(part, path)
            else:
                name(part, path)
        sync_folder(path.parent)
    except OSError:
        if opened is None:
            with refusing(path, "path"):
                raise
        raise
    finally:
        with suppress(OSError):  # it may have its name already
            part.unlink()


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that new names of files in it persist, if its file system can."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def check_free(path: Path) -> None:
    """Raise AlreadyExists if the path exists."""
    if os.path.lexists(path):
        raise AlreadyExists(f"{path} exists already; it is kept unless overwrite is set.")


def name(part: Path, path: Path) -> None:
    """Rename the file ``part`` to ``path``, which is never replaced.

    Raises AlreadyExists if another process has created ``path`` meanwhile, OSError if renaming
    fails.
    """
    try:
        os.link(part, path)
    except OSError:
        check_free(path)
        path.open("xb").close()  # where there are no links: the name is taken first
        try:
            os.replace(part, path)
        except BaseException:
            path.unlink()
            raise
