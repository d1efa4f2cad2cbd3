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
    """The memories that are ready."""
    return [name for (name,) in db.execute("SELECT name FROM memories WHERE state = 'ready'")]


def file_of(db: sqlite3.Connection, name: str) -> str | None:
    """The file of a memory that is ready."""
    find = "SELECT file FROM memories WHERE name = ? AND state = 'ready'"
    row = db.execute(find, (name,)).fetchone()
    return row[0] if row else None


def is_taken(db: sqlite3.Connection, name: str) -> bool:
    """Whether a memory of this name is listed, ready or not."""
    return bool(db.execute("SELECT 1 FROM memories WHERE name = ?", (name,)).fetchone())


def keep_ready(db: sqlite3.Connection, was_ready: Callable[[str], bool]) -> None:
    """Leave what was ready once by its file, where the list lost that, or it would be removed."""
    for (file,) in db.execute("SELECT file FROM memories WHERE state = 'creating'").fetchall():
        if was_ready(file):
            db.execute("UPDATE memories SET state = 'ready' WHERE file = ?", (file,))


def drop_unfinished(db: sqlite3.Connection) -> None:
    """Have go what was never ready."""
    db.execute("INSERT INTO dropped SELECT file FROM memories WHERE state = 'creating'")
    db.execute("DELETE FROM memories WHERE state = 'creating'")


def unlisted(db: sqlite3.Connection, folder: Path) -> dict[str, UnlistedFile]:
    """Files with something in them that no memory is listed with, by what each is ``called``.

    One is meant for the memory in it, or else for the one that it was made for.
    """
    known: Mapping[str, str] = dict(db.execute(FILES).fetchall())
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
    """A name for each file, by its stem, that a memory may have and none of ``taken``.

    That of the memory that it is ``meant`` for, if no other file is; or else its stem, or one that
    is made of it.
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
    """Names for a file, without end; the same ones always."""
    if NAME.fullmatch(stem):
        yield stem
    text = NOT_IN_NAMES.sub("-", stem.lower()).lstrip("._-")[:STEM_CHARACTERS] or "unlisted"
    for number in count():
        data = f"{stem} {number}".encode(errors="surrogateescape")
        yield f"{text}.{sha256(data).hexdigest()[:HASH_CHARACTERS]}"
