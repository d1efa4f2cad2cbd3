"""What of erased entries stands elsewhere in the file, as SQL: whose they are, and dropping it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from visual_memory_index.files import checksums as sums
from visual_memory_index.records.operation import GONE, UNLEARN
from visual_memory_index.sqlite.requests import ERASED

NAMING_LABELS = (
    "SELECT 1 FROM operations WHERE kind IN ('assess', 'prune', 'dry-run') AND result IS NOT NULL "
    "LIMIT 1"
)
OF_KEYS = "WHERE key IN (SELECT value FROM json_each(?1))"


def note(db: sqlite3.Connection, operation: str, ids: Iterable[str]) -> None:
    """Keep the ids that an operation has still to erase."""
    rows = [(operation, id) for id in dict.fromkeys(ids)]
    db.executemany("INSERT INTO erasing VALUES (?, ?)", rows)
    sums.move(db, len(rows), sum(map(sums.checksum, rows)), table=sums.ERASING)


def noted(db: sqlite3.Connection, operation: str) -> list[str]:
    """They, ascending."""
    rows = db.execute("SELECT id FROM erasing WHERE operation = ? ORDER BY id", (operation,))
    return [id for (id,) in rows]


def scrub(
    db: sqlite3.Connection, operation: str, labels: Sequence[str], settings: Iterable[str]
) -> None:
    """Drop what names the noted ids or ``labels``, and what was derived of the entries.

    Answers to writes, results of operations and why they failed, ``settings`` by name; the ids
    themselves go last. Certificates name nobody. What an operation was asked for may have named
    them too, and a guess of it could be checked by its fingerprint.
    """
    db.execute(
        "UPDATE requests SET fingerprint = x'', answer = ?1 WHERE EXISTS "
        "(SELECT 1 FROM json_each(requests.answer) AS each WHERE each.value IN "
        "(SELECT id FROM erasing WHERE operation = ?2 "
        "UNION ALL SELECT name FROM operations WHERE kind != ?3))",
        (ERASED, operation, UNLEARN),
    )
    drop_results(db, operation, labels)
    db.execute("DELETE FROM derived")
    db.executemany("DELETE FROM settings WHERE name = ?", [(name,) for name in settings])
    drop(db, operation)


def drop_results(db: sqlite3.Connection, operation: str, labels: Sequence[str]) -> None:
    """Drop results, and why operations failed, where they name the noted ids or ``labels``."""
    named = json.dumps(list(labels))
    db.execute(
        "UPDATE operations SET result = NULL, problem = ?1 "
        "WHERE result IS NOT NULL AND kind != ?4 AND EXISTS "
        "(SELECT 1 FROM json_tree(operations.result) AS each WHERE "
        "each.value IN (SELECT id FROM erasing WHERE operation = ?2) OR "
        "each.key IN (SELECT id FROM erasing WHERE operation = ?2) OR "
        "each.value IN (SELECT value FROM json_each(?3)) OR "
        "each.key IN (SELECT value FROM json_each(?3)))",
        (GONE, operation, named, UNLEARN),
    )
    db.execute(
        "UPDATE operations SET problem = ?1 WHERE problem IN "
        "(SELECT problem FROM (SELECT DISTINCT problem FROM operations) WHERE "
        "EXISTS (SELECT 1 FROM erasing WHERE operation = ?2 AND instr(problem, id)) OR "
        "EXISTS (SELECT 1 FROM json_each(?3) AS each WHERE instr(problem, each.value)))",
        (GONE, operation, named),
    )


@contextmanager
def forgetting(db: sqlite3.Connection, keys: Sequence[int]) -> Iterator[None]:
    """Drop results that name a label which these entries had, and after what is inside none has.

    Neither as its label nor as one that an undo would bring back. Without results, labels are not
    looked for, which may read all entries.
    """
    if db.execute(NAMING_LABELS).fetchone() is None:
        yield
        return
    rows = db.execute(
        f"SELECT label FROM entries {OF_KEYS} UNION SELECT label FROM relabels {OF_KEYS}",
        (json.dumps(list(keys)),),
    )
    labels = [label for (label,) in rows]
    yield
    if gone := without(db, labels):
        drop_results(db, "", gone)


def without(db: sqlite3.Connection, labels: Iterable[str]) -> list[str]:
    """Those of ``labels``, once each, that no entry has, nor an undo would bring back.

    However many they are, all entries are read once, and no further than to the last that is found.
    """
    left = dict.fromkeys(labels)
    for table in ("entries", "relabels"):
        found = db.execute(
            f"SELECT DISTINCT label FROM {table} "
            "WHERE label IN (SELECT value FROM json_each(?)) LIMIT ?",
            (json.dumps(list(left)), len(left)),
        ).fetchall()
        for (label,) in found:
            del left[label]
    return list(left)


def drop(db: sqlite3.Connection, operation: str) -> None:
    """Drop the noted ids."""
    rows = [(operation, id) for id in noted(db, operation)]
    db.execute("DELETE FROM erasing WHERE operation = ?", (operation,))
    sums.move(db, -len(rows), -sum(map(sums.checksum, rows)), table=sums.ERASING)
