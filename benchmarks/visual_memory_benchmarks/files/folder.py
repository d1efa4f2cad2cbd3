"""The files below a folder."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from visual_memory_benchmarks.errors import BadFile


def files_below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Yield every file below a folder, also through links to folders, except hidden files.

    A link to a folder that it lies in is not followed; ``above`` has device and inode of those
    folders. Raises BadFile if a folder or link cannot be read.
    """
    try:
        found = folder.stat()
        shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
        inside = [(path, stat.S_ISDIR(path.stat().st_mode)) for path in shown]
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise BadFile(Path(error.filename), problem, "make it readable, or remove it") from None
    own = (found.st_dev, found.st_ino)
    if own in above:
        return
    for path, is_folder in inside:
        if is_folder:
            yield from files_below(path, above | {own})
        else:
            yield path
