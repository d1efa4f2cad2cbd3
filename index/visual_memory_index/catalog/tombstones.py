"""Marks of unlearned entries, which name nobody, in one order with the backups.

A mark is an HMAC of an id under the server's secret, so that without it nobody can
even check a guess. Order is counted in ticks, whatever clocks do.
"""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from visual_memory_index.catalog import secret
from visual_memory_index.errors import LostSecret
from visual_memory_index.files import checksums as sums

AT_ONCE = 1024
BEFORE_ALL = -1
ANY = ""  # no entry has this id: its mark says that some of the memory have one
CHECK = b"visual-memory tombstones 1"


def mark(secret: bytes, uid: str, id: str) -> bytes:
    """Return the mark of an entry of the memory ``uid`` and its copies."""
    return hmac.digest(secret, b"\0".join((uid.encode(), id.encode())), "sha256")


def read_secret(db: sqlite3.Connection, path: Path) -> bytes:
    """Return the secret of all marks, made with the catalog. Raises LostSecret."""
    if not needs_secret(db):
        secret.make(path)
    found = secret.read(path)
    check_secret(db, found, str(path))
    return found


def check_secret(db: sqlite3.Connection, secret: bytes, path: str) -> None:
    """Check that marks were made by this secret, from ``path``. Raises LostSecret."""
    check = hmac.digest(secret, CHECK, "sha256")
    db.execute("UPDATE clock SET secret_check = ? WHERE secret_check IS NULL", (check,))
    if db.execute("SELECT secret_check FROM clock").fetchone()[0] != check:
        raise LostSecret(path)


def needs_secret(db: sqlite3.Connection) -> bool:
    """Return True if there was a secret before."""
    return db.execute("SELECT secret_check FROM clock").fetchone()[0] is not None


def ticks(db: sqlite3.Connection) -> int:
    """Return the latest tick."""
    count: int = db.execute("SELECT ticks FROM clock").fetchone()[0]
    return count


def tick(db: sqlite3.Connection) -> int:
    """Return the next tick."""
    count: int = db.execute("UPDATE clock SET ticks = ticks + 1 RETURNING ticks").fetchone()[0]
    return count


def note_backup(db: sqlite3.Connection, name: str) -> None:
    """Store the tick of a backup made now."""
    db.execute("INSERT INTO backups VALUES (?, ?)", (name, tick(db)))


def tick_of_backup(db: sqlite3.Connection, name: str) -> int:
    """Return the tick of a backup; one not made here is before all."""
    row = db.execute("SELECT tick FROM backups WHERE name = ?", (name,)).fetchone()
    return row[0] if row else BEFORE_ALL


def mark_unlearned(db: sqlite3.Connection, secret: bytes, uid: str, ids: Iterable[str]) -> int:
    """Mark these entries as unlearned now; return the tick."""
    now = tick(db)
    left = iter(dict.fromkeys(chain((ANY,), ids)))
    while part := [mark(secret, uid, id) for id in islice(left, AT_ONCE)]:
        count, sum_before = db.execute(
            "SELECT count(*), coalesce(sum(checksum(mark, tick)), 0) FROM tombstones "
            f"WHERE mark IN ({places(part)})",
            part,
        ).fetchone()
        db.executemany(
            "INSERT OR REPLACE INTO tombstones VALUES (?, ?)", [(each, now) for each in part]
        )
        sum_now = sum(sums.checksum((each, now)) for each in part)
        sums.move(db, len(part) - count, sum_now - sum_before, table=sums.TOMBSTONES)
    return now


def unlearned_since(
    db: sqlite3.Connection, secret: bytes, uid: str, ids: Iterable[str], since: int
) -> Iterator[str]:
    """Yield those of ``ids`` that were unlearned after the tick ``since``."""
    if not db.execute("SELECT 1 FROM tombstones WHERE tick > ? LIMIT 1", (since,)).fetchone():
        return
    ids = iter(ids)
    while part := list(islice(ids, AT_ONCE)):
        marked = {mark(secret, uid, id): id for id in part}
        yield from (marked[found] for found in stored(db, list(marked), since))


def unlearned(db: sqlite3.Connection, secret: bytes, uid: str, ids: Iterable[str]) -> list[str]:
    """Return those of ``ids`` that were ever unlearned; quick where there are none."""
    if not stored(db, [mark(secret, uid, ANY)], BEFORE_ALL):
        return []
    return list(unlearned_since(db, secret, uid, ids, BEFORE_ALL))


def stored(db: sqlite3.Connection, marks: Sequence[bytes], since: int) -> list[bytes]:
    """Return those of ``marks`` that are later than ``since``."""
    rows = db.execute(
        f"SELECT mark FROM tombstones WHERE +tick > ? AND mark IN ({places(marks)})",
        (since, *marks),
    )
    return [found for (found,) in rows]


def places(values: Sequence[bytes]) -> str:
    """Return an SQL placeholder for each value."""
    return ", ".join("?" * len(values))
