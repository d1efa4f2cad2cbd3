"""Row counts and checksum totals of each table, kept in the file itself.

Each write updates them, in its transaction, so a reader can tell whether anything else changed,
lost, doubled or brought back rows. Tables that get many rows at a time update them by ``move``; all
other tables by triggers of the writing connection.
"""

from __future__ import annotations

import marshal
import sqlite3
from zlib import crc32

from visual_memory_index.files.damage import NotAsWritten

FORM = 2
ENTRIES = "entries"  # whose rows have a checksum of their own
TOMBSTONES = "tombstones"
ERASING = "erasing"
OF_MANY = (ENTRIES, TOMBSTONES, ERASING)
# The audit log is a chain, an entry has checksums of its vector and its pictures, and the pairs are
# compared with the entries; derived data and codes have checksums of their own, and can be computed
# again.
BESIDE = ("audit", "codes", "derived", "images", "pairs", "sums", "vectors")
DIGEST = "digest"  # a column not summed: the audit log's last event has it, too
MOVES = (
    ("INSERT", "count = count + 1, sum = sum + {new}"),
    ("DELETE", "count = count - 1, sum = sum - {old}"),
    ("UPDATE", "sum = sum + {new} - {old}"),
)


def checksum(values: tuple[int | str | bytes | None, ...]) -> int:
    """Return CRC-32 of values and their types, in the form of version 2 of ``marshal``.

    The form depends on the values alone, and is computed in C; a test describes it in full.
    """
    return crc32(marshal.dumps(values, FORM))


def add_functions(db: sqlite3.Connection) -> None:
    """Define the SQL functions ``checksum``, of any values, and ``crc32``, of bytes alone."""
    db.create_function("checksum", -1, lambda *values: checksum(values), deterministic=True)
    db.create_function("crc32", 1, crc32, deterministic=True)


def add_triggers(db: sqlite3.Connection) -> None:
    """Create the triggers that update row counts and checksum totals with this connection's writes.

    Tables in ``OF_MANY`` have none, see ``move``. Does nothing if the file has no totals.
    """
    if not are_kept(db):
        return
    db.execute("PRAGMA recursive_triggers = ON")  # or what REPLACE deletes would be missed
    for table, row in summed(db).items():
        for event, change in MOVES if table not in OF_MANY else ():
            moved = change.format(new=row.format("NEW."), old=row.format("OLD."))
            db.execute(
                f"CREATE TEMP TRIGGER IF NOT EXISTS {table}_{event} AFTER {event} ON main.{table} "
                f"BEGIN UPDATE sums SET {moved} WHERE name = '{table}'; END"
            )


def move(db: sqlite3.Connection, count: int, sum: int, *, table: str = ENTRIES) -> None:
    """Update the totals of a table after a write: row count and sum of the rows' checksums.

    ``count`` and ``sum`` are added, and are negative if rows were deleted.
    """
    db.execute(
        "UPDATE sums SET count = count + ?, sum = sum + ? WHERE name = ?", (count, sum, table)
    )


def write(db: sqlite3.Connection) -> None:
    """Compute and store the row count and the checksum total of each table."""
    for table, row in summed(db).items():
        db.execute(f"INSERT OR REPLACE INTO sums SELECT '{table}', {total(row)} FROM {table}")


def check(db: sqlite3.Connection) -> None:
    """Compare all tables with their stored row counts and checksum totals, and check their indices.

    Does nothing if the file has no totals. Raises NotAsWritten for the first table that differs.
    """
    if not are_kept(db):
        return
    check_structure(db, "sums")
    kept = {name: sums for name, *sums in db.execute("SELECT name, count, sum FROM sums")}
    for table, row in summed(db).items():
        check_structure(db, table)
        if kept.pop(table, None) != list(
            db.execute(f"SELECT {total(row)} FROM {table}").fetchone()
        ):
            raise NotAsWritten(f"the rows of its table {table} are not those that were written")
    if kept:
        raise NotAsWritten("a table is missing that it has a sum of")


def check_structure(db: sqlite3.Connection, table: str) -> None:
    """Run SQLite's integrity check on a table and its indices. Raises NotAsWritten."""
    fault: str = db.execute(f"PRAGMA main.integrity_check({table})").fetchone()[0]
    if fault != "ok":
        raise NotAsWritten(" ".join(fault.removeprefix("*** in database main ***").split()))


def are_kept(db: sqlite3.Connection) -> bool:
    """Return True if the file has the table of checksum totals; older releases made none."""
    return db.execute("SELECT 1 FROM main.sqlite_schema WHERE name = 'sums'").fetchone() is not None


def are_deleted(db: sqlite3.Connection) -> bool:
    """Return True if a person deleted all rows of the table of totals, to change the file by hand.

    Raises NotAsWritten if that table is damaged.
    """
    if not are_kept(db) or db.execute("SELECT 1 FROM sums").fetchone():
        return False
    check_structure(db, "sums")
    return True


def summed(db: sqlite3.Connection) -> dict[str, str]:
    """Map each table that has totals to the SQL template of a row's checksum, see ``summand``."""
    tables = db.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
    ).fetchall()
    return {table: summand(db, table) for (table,) in tables if table not in BESIDE}


def summand(db: sqlite3.Connection, table: str) -> str:
    """Return an SQL template of a row's checksum, with {0} for a prefix such as "NEW.".

    In ``entries`` the checksum is a column; in another ``table`` it is computed from all columns
    but ``digest``.
    """
    if table == ENTRIES:
        return "{0}checksum"
    columns = db.execute("SELECT name FROM pragma_table_info(?, 'main')", (table,))
    names = [name for (name,) in columns if name != DIGEST]
    return f"checksum({', '.join(f'{{0}}{name}' for name in names)})"


def total(row: str) -> str:
    """Return the SQL of a table's row count and checksum total.

    ``row`` is the template of a row's checksum, see ``summand``.
    """
    return f"count(*), coalesce(sum({row.format('')}), 0)"
