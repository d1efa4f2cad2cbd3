"""Files that a caller names are read or refused in the words of the call."""

from __future__ import annotations

import os
import stat
from typing import NoReturn

from visual_memory.errors import refuse


def file_size(file: str | os.PathLike[str], path: str) -> int:
    """Raises InvalidArgument where there is no such file."""
    try:
        found = os.stat(file)
    except OSError as problem:
        refuse_file(file, path, problem)
    if stat.S_ISDIR(found.st_mode):
        refuse(path, f"is a folder: {os.fspath(file)}", separator=": ")
    return found.st_size


def read_file(file: str | os.PathLike[str], path: str) -> bytes:
    """Raises InvalidArgument where it cannot be read."""
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as problem:
        refuse_file(file, path, problem)


def refuse_file(file: str | os.PathLike[str], path: str, problem: OSError) -> NoReturn:
    """Raise what an unreadable file is refused with."""
    missing = isinstance(problem, FileNotFoundError)
    why = "no such file" if missing else (problem.strerror or str(problem)).lower()
    refuse(path, f"{why}: {os.fspath(file)}", separator=": ")
