"""Conversion of errors, raised while a file with unknown content is read, to CorruptStore.

Such errors may quote the file, and so personal data in it: their messages are not passed on.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

from visual_memory_index.errors import CorruptStore, NewerStore

# Errors of SQLite and Python about damaged bytes; a cancelled read raises another error.
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
    """Data that was read differs from the data that was written."""


@contextmanager
def damage_of(path: Path) -> Iterator[None]:
    """Raise CorruptStore about the file at ``path`` for any error that its bytes cause."""
    try:
        yield
    except NotAsWritten as damage:
        raise CorruptStore(path, str(damage)) from None
    except sqlite3.Error as error:
        raise CorruptStore(path, safe_message(error)) from None
    except SENSELESS as problem:
        place = extract_tb(problem.__traceback__, limit=-1)[0]
        what = f"{type(problem).__name__} at {Path(place.filename).name}:{place.lineno}"
        raise CorruptStore(path, what) from None


@contextmanager
def attribute_damage(path: Path, way_out: str = "", *, but: Path | None = None) -> Iterator[None]:
    """Re-raise CorruptStore and NewerStore as errors about the file at ``path``.

    ``way_out``, a sentence that tells the operator what to do, is added to a CorruptStore that has
    none. A CorruptStore about the file ``but`` is raised as it is.
    """
    try:
        with damage_of(path):
            yield
    except CorruptStore as bad:
        if bad.path == but:
            raise
        raise CorruptStore(path, bad.problem, way_out=bad.way_out or way_out) from bad
    except NewerStore as newer:
        raise NewerStore(path, newer.found, newer.known) from newer


def safe_message(error: sqlite3.Error) -> str:
    """Return SQLite's message if it quotes nothing from the file, else the name of the error."""
    found = SAYABLE.match(str(error))
    return found[0] if found else getattr(error, "sqlite_errorname", type(error).__name__)
