"""Where a memory stands, read from its file before anything in it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection

from visual_memory_index.check import NotListed, check
from visual_memory_index.errors import MemoryRefusal
from visual_memory_index.files.damage import NotAsWritten, damage_of
from visual_memory_index.files.database import has_log, look_into, translated
from visual_memory_index.files.disk import opened
from visual_memory_index.files.migrations import MEMORY_STEPS
from visual_memory_index.ledger.merkle import leaf_hash
from visual_memory_index.ledger.standing import Found, Noted, Standing
from visual_memory_index.records.progress import unreported
from visual_memory_index.sqlite.contents import SqliteContents
from visual_memory_index.sqlite.entries import read_standing

WITH_LOG = 4  # the first schema that has uids and audit logs


def look(path: Path, noted: Noted | None) -> Found | None:
    """What the file says of itself, as far as it has to be compared with what was noted.

    None where there is no memory, or of a newer release; opening refuses both. Raises CorruptStore,
    NotWritten.
    """
    with opened(path):
        if not path.stat().st_size:
            return None
    with reading(path) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        found = whose(db, version) if version <= len(MEMORY_STEPS) else None
        if noted is None or found is None or not found.standing.size:
            return found
        return replace(
            found,
            hashes=hashes(db, noted),
            unlearnings=unlearnings(db, noted.kept.size),
            knows_erasing=knows_operation(db, noted.erasing),
        )


def look_through(path: Path) -> None:
    """Compare all of a file and its log with its digest and its audit log, as ``check`` does.

    One of an older schema is passed over. Raises CorruptStore, BadAuditLog.
    """
    with reading(path) as db:
        if db.execute("PRAGMA user_version").fetchone()[0] != len(MEMORY_STEPS):
            return
        query = "SELECT name, ifnull(embedder, dimension) FROM memory"
        name, kind = db.execute(query).fetchone()
        contents = SqliteContents(db, path, *read_standing(db))
        check(contents, name, str(kind), NotListed(), lambda entries: True, unreported)


def is_empty(path: Path) -> bool:
    """True if neither a file nor its log holds anything, as far as they can be looked at."""
    with suppress(OSError):
        return not path.stat().st_size and not has_log(path)
    return False


def name_in(path: Path) -> str:
    """The name of the memory in a file, empty where none can be read."""
    try:
        found = look(path, None)
    except MemoryRefusal:
        return ""
    return found.name if found else ""


def whose(db: Connection, version: int) -> Found | None:
    """The memory that it is of, and where its log stands; without a log where that is lost."""
    if not version:
        return Found("", "", Standing(0, ""))
    columns = "name, uid, audit_size, audit_last" if version >= WITH_LOG else "name, '', 0, ''"
    row = db.execute(f"SELECT {columns} FROM memory").fetchone()
    if row is None:  # what made it is lost with the log, unless more was done to it
        done = version >= WITH_LOG and db.execute("SELECT 1 FROM audit").fetchone()
        return None if done else Found("", "", Standing(0, ""))
    name, uid, size, last = row
    if [*map(type, row)] != [str, str, int, str]:
        raise NotAsWritten("it does not say whose it is")
    return Found(name, uid, Standing(size, last))


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """One state of the file with its log. Raises CorruptStore, also where its tables are others."""
    with damage_of(path), translated(path), closing(look_into(path)) as db:
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("BEGIN")
        yield db


def hashes(db: Connection, noted: Noted) -> dict[int, str]:
    """The hashes of the events that were the last when something was noted, as far as they are."""
    found = {}
    for size, _ in noted.standings:
        row = db.execute("SELECT event FROM audit WHERE number = ?", (size - 1,)).fetchone()
        if row:
            found[size - 1] = leaf_hash(str(row[0]).encode()).hex()
    return found


def unlearnings(db: Connection, since: int) -> int:
    """How many erasures are in the log from that event on."""
    count: int = db.execute(
        'SELECT count(*) FROM audit WHERE number >= ? AND event LIKE \'%"call":"UnlearnEntries"%\'',
        (since,),
    ).fetchone()[0]
    return count


def knows_operation(db: Connection, name: str | None) -> bool:
    """Whether it has an operation of this name."""
    return bool(db.execute("SELECT 1 FROM operations WHERE name = ?", (name,)).fetchone())
