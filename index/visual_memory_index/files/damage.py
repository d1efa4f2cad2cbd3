"""What is raised while a file is read that may hold what nobody wrote, as damage of that file.

What others raise may quote the file, and so whoever is remembered there: none of their words is
told on.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

from visual_memory_index.errors import CorruptStore, NewerStore

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
SAYABLE = re.compile(
    r"(Could not decode to UTF-8 column '\w+')|database disk image is malformed"
    r"|file is not a database|malformed JSON"
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
    except NotAsWritten as damage:
        raise CorruptStore(str(path), str(damage)) from None
    except sqlite3.Error as error:
        raise CorruptStore(str(path), said(error)) from None
    except SENSELESS as problem:
        place = extract_tb(problem.__traceback__, limit=-1)[0]
        what = f"{type(problem).__name__} at {Path(place.filename).name}:{place.lineno}"
        raise CorruptStore(str(path), what) from None


@contextmanager
def relabelled(path: Path, way_out: str = "") -> Iterator[None]:
    """Say of what is wrong with a file inside that it is wrong with the one at ``path``.

    With its own way out, if there is one. Raises CorruptStore, NewerStore.
    """
    try:
        with damage_of(path):
            yield
    except CorruptStore as bad:
        raise CorruptStore(str(path), bad.problem, way_out=way_out or bad.way_out) from bad
    except NewerStore as newer:
        raise NewerStore(str(path), newer.found, newer.known) from newer


def said(error: sqlite3.Error) -> str:
    """SQLite's complaint, as far as it quotes nothing that the file holds."""
    found = SAYABLE.match(str(error))
    return found[0] if found else getattr(error, "sqlite_errorname", type(error).__name__)
