"""The list of memories in the catalog: the file of each, and files that it does not know."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from visual_memory_index.errors import UnlistedFile
from visual_memory_index.sqlite_standing import is_empty, name_in

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
    """Files with something in them that no memory is listed with, by the name to call each by.

    That is the name of the memory in it, or else of the one that it was made for; where that is
    listed, or several such files have it, it is that of the file.
    """
    known: Mapping[str, str] = dict(db.execute(FILES).fetchall())
    paths = [
        path
        for path in sorted(folder.glob("*.sqlite"))
        if path.name not in known and not is_empty(path)
    ]
    held = {path: name_in(path) for path in paths}
    meant = {path: held[path] or path.stem.rpartition(".")[0] for path in paths}
    count = Counter([*meant.values(), *known.values(), ""])
    called = {path: name if count[name] == 1 else path.stem for path, name in meant.items()}
    return {called[path]: UnlistedFile(str(path), held[path], called[path]) for path in paths}
