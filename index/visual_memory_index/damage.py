"""What is raised while a file is read that may hold what nobody wrote, as damage of that file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visual_memory_index.errors import CorruptStore

# By SQLite and Python, about bytes that mean nothing; who stops a read raises something else.
SENSELESS = (
    sqlite3.Error,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class NotAsWritten(ValueError):
    """What was read is something else than what was written there."""


@contextmanager
def damage_of(path: Path) -> Iterator[None]:
    """Refuse the file at ``path`` for whatever its bytes made of the code inside.

    Raises CorruptStore.
    """
    try:
        yield
    except SENSELESS as problem:
        raise CorruptStore(str(path), str(problem) or type(problem).__name__) from problem
