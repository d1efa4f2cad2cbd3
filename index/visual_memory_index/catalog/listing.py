"""The list of memories in the catalog: the file of each, and files that it does not know."""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from itertools import count
from pathlib import Path

from visual_memory_index.catalog.inspection import is_empty, name_in
from visual_memory_index.errors import UnlistedFile

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # of a memory
NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")
STEM_CHARACTERS, HASH_CHARACTERS = 54, 8  # with a full stop between, as many as a name has

FILES = """
    SELECT file, name FROM memories WHERE state IN ('creating', 'ready')
    UNION ALL SELECT file, '' FROM dropped
"""


def names(db: sqlite3.Connection) -> list[str]:
    """Return the memories that are ready."""
    return [name for (name,) in db.execute("SELECT name FROM memories WHERE state = 'ready'")]


def file_of(db: sqlite3.Connection, name: str) -> str | None:
    """Return the file of a memory that is ready, or None."""
    find = "SELECT file FROM memories WHERE name = ? AND state = 'ready'"
    row = db.execute(find, (name,)).fetchone()
    return row[0] if row else None


def is_taken(db: sqlite3.Connection, name: str) -> bool:
    """Return True if a memory of this name is listed, ready or not."""
    return bool(db.execute("SELECT 1 FROM memories WHERE name = ?", (name,)).fetchone())


def keep_ready(db: sqlite3.Connection, was_ready: Callable[[str], bool]) -> None:
    """Mark memories as ready whose files were before: otherwise they would be removed."""
    for (file,) in db.execute("SELECT file FROM memories WHERE state = 'creating'").fetchall():
        if was_ready(file):
            db.execute("UPDATE memories SET state = 'ready' WHERE file = ?", (file,))


def drop_unfinished(db: sqlite3.Connection) -> None:
    """Drop memories that were never ready."""
    db.execute("INSERT INTO dropped SELECT file FROM memories WHERE state = 'creating'")
    db.execute("DELETE FROM memories WHERE state = 'creating'")


def unlisted(known: Mapping[str, str], folder: Path) -> dict[str, UnlistedFile]:
    """Return files in ``folder`` that hold something and are not ``known``, by name.

    ``known`` maps files to memories. A file is ``called`` by the memory in it, or else by the one
    that it was made for.
    """
    paths = [
        path
        for path in sorted(folder.glob("*.sqlite"))
        if path.name not in known and not os.path.isdir(path) and not is_empty(path)
    ]
    held = {path: name_in(path) for path in paths}
    meant = {path.stem: held[path] or path.stem.rpartition(".")[0] for path in paths}
    names = called(meant, set(known.values()))
    found = {}
    for path in paths:
        name, is_text = names[path.stem], path.name.encode(errors="ignore").decode() == path.name
        found[name] = UnlistedFile(str(path), held[path], name, to_rename=not is_text)
    return found


def called(meant: Mapping[str, str], taken: Collection[str]) -> dict[str, str]:
    """Choose a valid name for each file, by its stem, that is not ``taken``.

    The name of the memory that the file is ``meant`` for, if no other file is; else its stem, or a
    name made of it.
    """
    files = Counter(meant.values())
    names = {
        stem: name
        for stem, name in meant.items()
        if files[name] == 1 and name not in taken and NAME.fullmatch(name)
    }
    for stem in meant:
        if stem not in names:
            used = {*taken, *names.values()}
            names[stem] = next(name for name in names_of(stem) if name not in used)
    return names


def names_of(stem: str) -> Iterator[str]:
    """Yield names for a file without end, always the same ones."""
    if NAME.fullmatch(stem):
        yield stem
    text = NOT_IN_NAMES.sub("-", stem.lower()).lstrip("._-")[:STEM_CHARACTERS] or "unlisted"
    for number in count():
        data = f"{stem} {number}".encode(errors="surrogateescape")
        yield f"{text}.{sha256(data).hexdigest()[:HASH_CHARACTERS]}"
