"""SQL that drops data in which unlearned entries are named, outside of the entries themselves."""

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


def note_ids(db: sqlite3.Connection, operation: str, ids: Iterable[str]) -> None:
    """Store the ids that an operation still has to unlearn."""
    rows = [(operation, id) for id in dict.fromkeys(ids)]
    db.executemany("INSERT INTO erasing VALUES (?, ?)", rows)
    sums.move(db, len(rows), sum(map(sums.checksum, rows)), table=sums.ERASING)


def noted_ids(db: sqlite3.Connection, operation: str) -> list[str]:
    """Return the ids that an operation still has to unlearn, ascending."""
    rows = db.execute("SELECT id FROM erasing WHERE operation = ? ORDER BY id", (operation,))
    return [id for (id,) in rows]


def scrub(
    db: sqlite3.Connection, operation: str, labels: Sequence[str], settings: Iterable[str]
) -> None:
    """Drop all data that names unlearned entries or ``labels``, or was derived from these entries.

    The entries are those whose ids ``operation`` still has to unlearn. Dropped are answers to
    writes, results and problems of operations, derived data, the settings named in ``settings``,
    and last the ids. Certificates name no entry. Fingerprints of requests are dropped too, since
    they would let a guess of an id be checked.
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
    drop_ids(db, operation)


def drop_results(db: sqlite3.Connection, operation: str, labels: Sequence[str]) -> None:
    """Erase results and problems of operations that name ``labels`` or ids of unlearned entries.

    These are the ids that ``operation`` still has to unlearn. Results of unlearn operations are
    kept.
    """
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
def dropping_results(db: sqlite3.Connection, keys: Sequence[int]) -> Iterator[None]:
    """On leaving, drop results that name labels which these entries had and no entry has any more.

    A label that an undo would restore counts as in use. If no results are stored, no label is
    looked up, since that may read all entries.
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
    if gone := unused_labels(db, labels):
        drop_results(db, "", gone)


def unused_labels(db: sqlite3.Connection, labels: Iterable[str]) -> list[str]:
    """Return the distinct ``labels`` that no entry has and no undo would restore.

    All entries are read at most once, and only until the last label is found.
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


def drop_ids(db: sqlite3.Connection, operation: str) -> None:
    """Delete the ids that an operation still had to unlearn."""
    rows = [(operation, id) for id in noted_ids(db, operation)]
    db.execute("DELETE FROM erasing WHERE operation = ?", (operation,))
    sums.move(db, -len(rows), -sum(map(sums.checksum, rows)), table=sums.ERASING)
