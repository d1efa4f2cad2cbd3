"""The audit log position of a memory, read from its file before anything in it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection

from visual_memory_index.errors import CorruptStore, MemoryRefusal, NewerStore
from visual_memory_index.files.damage import NotAsWritten, damage_of
from visual_memory_index.files.database import (
    connect_read_only,
    has_log,
    is_empty,
    translate_errors,
)
from visual_memory_index.files.disk import translate_os_errors
from visual_memory_index.files.migrations import MEMORY_STEPS
from visual_memory_index.ledger.merkle import leaf_hash
from visual_memory_index.ledger.standing import Found, Noted, Standing
from visual_memory_index.memory.check import check
from visual_memory_index.records.operation import unreported
from visual_memory_index.sqlite import same_content
from visual_memory_index.sqlite.contents import SqliteContents
from visual_memory_index.sqlite.entries import read_standing
from visual_memory_index.store.store import Sought

WITH_LOG = 4  # the first schema that has uids and audit logs
UNLEARNINGS = (
    'SELECT count(*) FROM audit WHERE number >= ? AND event LIKE \'%"call":"UnlearnEntries"%\''
)
KNOWS = "SELECT 1 FROM operations WHERE name = ?"


def look(path: Path, noted: Noted | None) -> Found:
    """Read the state of a memory from its file, to be compared with the catalog's ``noted`` state.

    Raises CorruptStore, also if the file holds no memory, NewerStore, FileUnavailable.
    """
    with translate_os_errors(path, opening=True):
        if is_empty(path) and not has_log(path):
            raise CorruptStore(path, "it is empty")
    with reading(path) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MEMORY_STEPS):
            raise NewerStore(path, version, len(MEMORY_STEPS))
        found = whose(db, version)
        if noted is None or not found.standing.size:
            return found
        return replace(
            found,
            hashes=hashes(db, noted),
            unlearnings=db.execute(UNLEARNINGS, (noted.kept.size,)).fetchone()[0],
            knows_unlearning=bool(db.execute(KNOWS, (noted.unlearning,)).fetchone()),
        )


def look_through(path: Path) -> None:
    """Compare a file and its write-ahead log with its digest and audit log, see ``memory.check``.

    Does nothing if the file has the schema of another release. Raises CorruptStore, BadAuditLog.
    """
    with reading(path) as db:
        if db.execute("PRAGMA user_version").fetchone()[0] != len(MEMORY_STEPS):
            return
        query = "SELECT name, ifnull(embedder, dimension) FROM memory"
        name, kind = db.execute(query).fetchone()
        contents = SqliteContents(db, path, *read_standing(db))
        check(contents, name, str(kind), unreported)


def holds(path: Path, sought: Sought) -> bool | None:
    """Return True if a file has an entry of ``sought``, or its content; None if it is to migrate.

    Raises CorruptStore.
    """
    with reading(path) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version != len(MEMORY_STEPS):
            return None
        return same_content.holds(db, whose(db, version).uid, sought, ())


def holds_nothing(path: Path) -> bool:
    """Return True if a file and its write-ahead log are empty, False if they cannot be read."""
    with suppress(OSError):
        return is_empty(path) and not has_log(path)
    return False


def name_in(path: Path) -> str:
    """Return the name of the memory in a file, or an empty text if none can be read."""
    try:
        return look(path, None).name
    except MemoryRefusal:
        return ""


def whose(db: Connection, version: int) -> Found:
    """Return the name, uid and audit log position in a file with this schema ``version``.

    All are empty if no memory is stored in it, since the write that made it was lost. Raises
    NotAsWritten.
    """
    if not version:
        return Found("", "", Standing(0, ""))
    columns = "name, uid, audit_size, audit_last" if version >= WITH_LOG else "name, '', 0, ''"
    row = db.execute(f"SELECT {columns} FROM memory").fetchone()
    if row is None:  # what made it is lost with the log, unless more was done to it
        if version >= WITH_LOG and db.execute("SELECT 1 FROM audit").fetchone():
            raise NotAsWritten("it holds no memory")
        return Found("", "", Standing(0, ""))
    name, uid, size, last = row
    if [*map(type, row)] != [str, str, int, str]:
        raise NotAsWritten("it does not say whose it is")
    return Found(name, uid, Standing(size, last))


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """Yield a read-only connection to one state of a file with its write-ahead log.

    Raises CorruptStore.
    """
    with damage_of(path), translate_errors(path), closing(connect_read_only(path)) as db:
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("BEGIN")
        yield db


def hashes(db: Connection, noted: Noted) -> dict[int, str]:
    """Map event numbers to hashes in the file, for the last event of each position in ``noted``.

    An event that the file does not have is absent.
    """
    found = {}
    for size, _ in noted.standings:
        row = db.execute("SELECT event FROM audit WHERE number = ?", (size - 1,)).fetchone()
        if row:
            found[size - 1] = leaf_hash(str(row[0]).encode()).hex()
    return found
