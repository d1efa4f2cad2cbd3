"""The metadata of a memory's file by key and value, so that a filter need not read all entries.

The table ``pairs`` follows from the entries as an index would. Its rows lie in segments of 1,024
keys of entries: the pairs of entries that come together are written to few pages.
"""

from __future__ import annotations

import json
import sqlite3

from visual_memory_index.files.damage import NotAsWritten
from visual_memory_index.records.entry import Keys
from visual_memory_index.records.filter import Comparison
from visual_memory_index.records.steps import steps
from visual_memory_index.sqlite.filter_sql import operation

REMOVED_AT_ONCE = 1024  # entries, whose pairs SQLite lists first
OF_ENTRIES = (
    "SELECT entries.key >> 10, pair.key, pair.value, entries.key "
    "FROM entries, json_each(entries.metadata) AS pair"
)
SEGMENTS = """
    WITH RECURSIVE segments (number) AS (
        SELECT min(segment) FROM pairs
        UNION ALL
        SELECT (SELECT min(segment) FROM pairs WHERE segment > number)
        FROM segments WHERE number NOT NULL
    )
"""
KEYS = f"""
    {SEGMENTS} SELECT group_concat(key, ' ') FROM segments CROSS JOIN pairs
    WHERE segment = number AND name = ? AND value
"""
VOTE = f"""
    {SEGMENTS} SELECT EXISTS (
        SELECT 1 FROM segments CROSS JOIN pairs CROSS JOIN entries USING (key)
        WHERE segment = number AND name = ? AND pruned_by IS NULL
    )
"""
COUNT = """
    SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (
        SELECT 1 FROM pairs WHERE segment = entries.key >> 10
        AND name = pair.key AND value = pair.value AND pairs.key = entries.key
    ))
    FROM entries, json_each(entries.metadata) AS pair
"""


def fill(db: sqlite3.Connection) -> None:
    """Make the table anew from all entries."""
    db.execute("DELETE FROM pairs")
    db.execute(f"INSERT INTO pairs {OF_ENTRIES}")


def add(db: sqlite3.Connection, first: int, last: int) -> None:
    """Add the pairs of the entries with keys from ``first`` to ``last``."""
    db.execute(f"INSERT INTO pairs {OF_ENTRIES} WHERE entries.key BETWEEN ? AND ?", (first, last))


def remove(db: sqlite3.Connection, keys: Keys) -> None:
    """Delete the pairs of the entries with these keys, which are still there."""
    these = f"{OF_ENTRIES} WHERE entries.key IN (SELECT value FROM json_each(?))"
    for step in steps(len(keys), REMOVED_AT_ONCE):
        part = json.dumps(keys[step].tolist())
        db.execute(f"DELETE FROM pairs WHERE (segment, name, value, key) IN ({these})", (part,))


def keys_text(db: sqlite3.Connection, comparison: Comparison) -> str:
    """Return the keys of the entries whose metadata match a comparison, with spaces between."""
    condition, value = operation(comparison)
    text: str | None = db.execute(f"{KEYS} {condition}", (comparison.key, value)).fetchone()[0]
    return text or ""


def vote(db: sqlite3.Connection, name: str) -> bool:
    """Return True if the metadata of an entry that votes have a key of this ``name``."""
    found: int = db.execute(VOTE, (name,)).fetchone()[0]
    return bool(found)


def check(db: sqlite3.Connection) -> None:
    """Compare the table with the metadata of all entries. Raises NotAsWritten."""
    (count,) = db.execute("SELECT count(*) FROM pairs").fetchone()
    if db.execute(COUNT).fetchone() != (count, 0):
        raise NotAsWritten("the rows of its table pairs are not those of its entries")
