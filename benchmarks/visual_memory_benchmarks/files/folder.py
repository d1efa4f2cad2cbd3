"""The files below a folder."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from visual_memory_benchmarks.errors import BadFile

Folders = dict[tuple[int, int], Path]  # paths by device and inode


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, also through links to folders, except hidden files.

    A link to a folder that it lies in is not followed; a link to nothing with a suffix is a file.
    Raises BadFile if a folder or link cannot be read, or if links lead to a folder that is there
    already: its files would count twice.
    """
    return walk(folder, {}, frozenset())


def walk(folder: Path, read: Folders, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Yield the files below a folder, which is added to ``read``; ``above`` are those it lies in.

    Raises BadFile.
    """
    try:
        found = folder.stat()
        shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
        inside = [(path, leads_to_folder(path)) for path in shown]
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise BadFile(Path(error.filename), problem, "make it readable, or remove it") from None
    own = (found.st_dev, found.st_ino)
    if own in above:
        return
    if (same := read.setdefault(own, folder)) != folder:
        problem = f"is the same folder as {same}"
        raise BadFile(folder, problem, "remove one of them, or the link that leads there")
    for path, is_folder in inside:
        if is_folder:
            yield from walk(path, read, above | {own})
        else:
            yield path


def leads_to_folder(path: Path) -> bool:
    """Return True for a folder. Raises OSError for a link to nothing that has no file's suffix."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        if path.suffix:
            return False
        raise
