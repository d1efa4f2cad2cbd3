"""The schemas, as lists of steps that build them. A step is never edited once released."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from visual_memory_index.errors import CorruptStore, NewerStore
from visual_memory_index.files import checksums as sums

Schema = dict[str, tuple[str, str]]

REQUESTS = """
    CREATE TABLE requests (
        request_id TEXT NOT NULL,
        start INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        answer TEXT NOT NULL,
        answered_at INTEGER NOT NULL,
        PRIMARY KEY (request_id, start)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX requests_by_time ON requests (answered_at);
    """
# The age of answers is counted by a clock of their own, since the system's may jump.
AGES_OF_ANSWERS = """
    ALTER TABLE requests ADD COLUMN age INTEGER NOT NULL DEFAULT 0;
    UPDATE requests SET age = answered_at;
    DROP INDEX requests_by_time;
    CREATE INDEX requests_by_age ON requests (age);
    """
# Answers and results outlive entries, so they have nothing of entries but ids. Rows are not changed
# in place but written anew: pages that SQLite rearranged may still have rows moved from them.
FORGET_CONTENTS = """
    CREATE TEMP TABLE kept AS SELECT * FROM requests;
    DELETE FROM requests;
    UPDATE kept SET answer = json_array(json_extract(answer, '$.id'))
        WHERE json_type(answer) = 'object';
    INSERT INTO requests SELECT * FROM kept ORDER BY request_id, start;
    DROP TABLE kept;
    DELETE FROM relabels WHERE key IN (SELECT key FROM entries WHERE relabelled_by IS NULL);
    UPDATE operations SET result = NULL,
        problem = 'What it answered named entries that were unlearned, '
            || 'or labels that no entry has any more, and is gone.'
        WHERE kind IN ('assess', 'prune', 'dry-run') AND EXISTS (
            SELECT 1 FROM json_each(result, iif(kind = 'assess', '$.confusion', '$.labels'))
            WHERE key NOT IN (SELECT label FROM entries UNION SELECT label FROM relabels)
        );
    CREATE INDEX operations_naming_labels ON operations (kind)
        WHERE kind IN ('assess', 'prune', 'dry-run') AND result IS NOT NULL;
    """
SUMS = """
    CREATE TABLE sums (
        name TEXT PRIMARY KEY,
        count INTEGER NOT NULL,
        sum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """
MEMORY_STEPS = (
    # Vectors have a table of their own: a filter then scans 100 bytes an entry instead of 5,000.
    f"""
    CREATE TABLE memory (
        name TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        embedder TEXT,
        created_at INTEGER NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE entries (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        label TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        content_sha256 BLOB NOT NULL
    ) STRICT;
    CREATE TABLE vectors (
        key INTEGER PRIMARY KEY REFERENCES entries (key) ON DELETE CASCADE,
        vector BLOB NOT NULL
    ) STRICT;
    {REQUESTS}
    """,
    # Derived data refers to entries by key, so a key is never used twice.
    """
    ALTER TABLE memory ADD COLUMN next_key INTEGER NOT NULL DEFAULT 1;
    UPDATE memory SET next_key = (SELECT coalesce(max(key), 0) + 1 FROM entries);
    CREATE TABLE operations (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
        result TEXT,
        problem TEXT,
        created_at INTEGER NOT NULL,
        ended_at INTEGER,
        undone_at INTEGER
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE entries ADD COLUMN pruned_by TEXT REFERENCES operations (name);
    ALTER TABLE entries ADD COLUMN relabelled_by TEXT REFERENCES operations (name);
    CREATE INDEX entries_pruned ON entries (pruned_by) WHERE pruned_by IS NOT NULL;
    CREATE TABLE relabels (
        operation TEXT NOT NULL REFERENCES operations (name),
        key INTEGER NOT NULL REFERENCES entries (key) ON DELETE CASCADE,
        label TEXT NOT NULL,
        relabelled_by TEXT,
        PRIMARY KEY (operation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX relabels_by_key ON relabels (key);
    CREATE TABLE derived (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    """,
    # The thumbnail goes first: SQLite then reads it without the pages of the image.
    """
    ALTER TABLE memory ADD COLUMN store_images INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE images (
        key INTEGER PRIMARY KEY REFERENCES entries (key) ON DELETE CASCADE,
        thumbnail BLOB NOT NULL,
        image BLOB NOT NULL
    ) STRICT;
    """,
    # If the digest is NULL, it has to be computed from the entries.
    """
    ALTER TABLE memory ADD COLUMN uid TEXT NOT NULL DEFAULT '';
    ALTER TABLE memory ADD COLUMN digest BLOB;
    ALTER TABLE memory ADD COLUMN audit_size INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE memory ADD COLUMN audit_peaks BLOB NOT NULL DEFAULT x'';
    ALTER TABLE memory ADD COLUMN audit_last TEXT NOT NULL DEFAULT '';
    CREATE TABLE audit (number INTEGER PRIMARY KEY, event TEXT NOT NULL) STRICT;
    CREATE TABLE erasing (
        operation TEXT NOT NULL REFERENCES operations (name),
        id TEXT NOT NULL,
        PRIMARY KEY (operation, id)
    ) STRICT, WITHOUT ROWID;
    """,
    AGES_OF_ANSWERS,
    # Without it, deleting an operation reads all entries to find any that refers to it.
    """
    CREATE INDEX entries_relabelled ON entries (relabelled_by) WHERE relabelled_by IS NOT NULL;
    """,
    FORGET_CONTENTS,
    # A checksum precedes a large value, or all pages of the value would be read for it.
    f"""
    ALTER TABLE entries ADD COLUMN vector_checksum INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE entries ADD COLUMN thumbnail_checksum INTEGER;
    ALTER TABLE entries ADD COLUMN image_checksum INTEGER;
    ALTER TABLE entries ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
    UPDATE entries SET vector_checksum =
        (SELECT crc32(vector) FROM vectors WHERE vectors.key = entries.key);
    UPDATE entries SET (thumbnail_checksum, image_checksum) =
        (SELECT crc32(thumbnail), crc32(image) FROM images WHERE images.key = entries.key);
    UPDATE entries SET checksum = checksum(
        key, id, label, metadata, created_at, content_sha256, pruned_by, relabelled_by,
        vector_checksum, thumbnail_checksum, image_checksum
    );
    DROP TABLE derived;
    CREATE TABLE derived (
        name TEXT PRIMARY KEY,
        checksum INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    {SUMS}
    """,
    "ALTER TABLE operations ADD COLUMN principal TEXT NOT NULL DEFAULT 'local';",
    # The pairs of the entries are added by ``compare``, see ``migrate``.
    """
    CREATE TABLE pairs (
        segment INTEGER NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        key INTEGER NOT NULL,
        PRIMARY KEY (segment, name, value, key)
    ) STRICT, WITHOUT ROWID;
    """,
    # Those of all entries, once the vectors were left on disk.
    """
    CREATE TABLE codes (
        key INTEGER PRIMARY KEY REFERENCES entries (key) ON DELETE CASCADE,
        code BLOB NOT NULL
    ) STRICT;
    """,
    # Each entry that names an operation has it looked up. An index has the names alone: without,
    # the whole results of others were read on the way to a name. Results go last, as images.
    """
    PRAGMA defer_foreign_keys = ON;
    CREATE TABLE kept AS SELECT * FROM operations;
    DROP TABLE operations;
    CREATE TABLE operations (
        name TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        principal TEXT NOT NULL DEFAULT 'local',
        state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
        problem TEXT,
        created_at INTEGER NOT NULL,
        ended_at INTEGER,
        undone_at INTEGER,
        result TEXT
    ) STRICT;
    INSERT INTO operations
        SELECT name, kind, principal, state, problem, created_at, ended_at, undone_at, result
        FROM kept ORDER BY name;
    DROP TABLE kept;
    CREATE INDEX operations_naming_labels ON operations (kind)
        WHERE kind IN ('assess', 'prune', 'dry-run') AND result IS NOT NULL;
    """,
)

CATALOG_STEPS = (
    f"""
    CREATE TABLE memories (
        name TEXT PRIMARY KEY,
        file TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('creating', 'ready'))
    ) STRICT;
    CREATE TABLE dropped (file TEXT PRIMARY KEY) STRICT;
    {REQUESTS}
    """,
    # Backups and erasures are ordered by ticks, since clocks may jump.
    """
    CREATE TABLE clock (ticks INTEGER NOT NULL, secret_check BLOB) STRICT;
    INSERT INTO clock VALUES (0, NULL);
    CREATE TABLE tombstones (mark BLOB PRIMARY KEY, tick INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX tombstones_by_tick ON tombstones (tick);
    CREATE TABLE backups (name TEXT PRIMARY KEY, tick INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    AGES_OF_ANSWERS,
    # An older file in place of a memory's is recognised by events that its audit log lacks.
    """
    CREATE TABLE noted (
        file TEXT PRIMARY KEY REFERENCES memories (file) ON DELETE CASCADE,
        uid TEXT NOT NULL,
        size INTEGER NOT NULL,
        last TEXT NOT NULL,
        erasing TEXT
    ) STRICT, WITHOUT ROWID;
    """,
    SUMS,
    # Of former backups neither is known.
    """
    ALTER TABLE backups ADD COLUMN uid TEXT;
    ALTER TABLE backups ADD COLUMN time INTEGER;
    """,
)


def migrate(
    db: sqlite3.Connection,
    steps: tuple[str, ...],
    path: Path,
    compare: Callable[[sqlite3.Connection], None] = lambda db: None,
) -> None:
    """Bring ``db`` to the newest schema, in one transaction that also computes the totals anew.

    ``steps`` are the SQL scripts from each schema version to the next; the totals are those of
    ``checksums``. If a person deleted the totals to change the file by hand, they are computed
    without a new schema, too. ``compare`` is called before the commit, and may add what follows
    from the rest; if it raises, nothing is changed. An empty database becomes a copy of one that
    the steps made before, which is quicker. Raises NewerStore, and NotAsWritten if the file does
    not match its totals.
    """
    sums.add_functions(db)
    if is_empty(db):
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        with made_by(steps, page_bytes) as made:
            made.backup(db, progress=refuse_held)
        return
    check_ours(db, steps, path)
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version < len(steps):
        sums.check(db)
    elif not sums.are_deleted(db):
        return
    take(db, steps, version)
    compare(db)
    db.execute("COMMIT")


def check_ours(db: sqlite3.Connection, steps: tuple[str, ...], path: Path) -> None:
    """Check that a file at ``path`` is empty, or has a table or index as ``steps`` made it.

    Raises CorruptStore, or NewerStore if more steps were taken.
    """
    found, version = schema(db), db.execute("PRAGMA user_version").fetchone()[0]
    if found and not found.items() & schema_of(steps[: max(version, 0)]).items():
        raise CorruptStore(path, "by its tables or their version it is of another program")
    if version > len(steps):
        raise NewerStore(path, version, len(steps))


def is_empty(db: sqlite3.Connection) -> bool:
    """Return True if ``db`` has no schema, once no other program is making one."""
    if schema(db):
        return False
    db.execute("BEGIN IMMEDIATE")
    empty = not schema(db) and not db.execute("PRAGMA user_version").fetchone()[0]
    db.execute("ROLLBACK")
    return empty


def refuse_held(status: int, remaining: int, total: int) -> None:
    """Raise the error of a held file, in place of a copy that goes on until another lets go."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = status
        raise error


def take(db: sqlite3.Connection, steps: tuple[str, ...], version: int) -> None:
    """Begin a transaction with the ``steps`` after a schema ``version``, and the totals anew."""
    script = ("BEGIN IMMEDIATE;", *steps[version:], f"PRAGMA user_version = {len(steps)};")
    db.executescript("\n".join(script))
    if sums.are_kept(db):
        sums.write(db)


def check_schema(db: sqlite3.Connection, steps: tuple[str, ...], path: Path) -> None:
    """Compare the tables and indices of ``db`` with those that the migration ``steps`` make.

    Raises CorruptStore about the file at ``path`` if they differ.
    """
    found, made = schema(db), schema_of(steps)
    for name in sorted(found.keys() | made.keys()):
        if found.get(name) != made.get(name):
            raise CorruptStore(path, f"its schema is not that of this release, at {name!r}")


@cache
def schema_of(steps: tuple[str, ...]) -> Schema:
    """Return the schema that the migration ``steps`` make in an empty database."""
    with made_by(steps) as db:
        return schema(db)


@contextmanager
def made_by(steps: tuple[str, ...], page_bytes: int = 4096) -> Iterator[sqlite3.Connection]:
    """Yield an empty database in RAM that the migration ``steps`` made."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(image_of(steps, page_bytes))
        yield db


@cache
def image_of(steps: tuple[str, ...], page_bytes: int) -> bytes:
    """Return the bytes of an empty database that the migration ``steps`` make."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {page_bytes}")
        sums.add_functions(db)
        take(db, steps, 0)
        db.execute("COMMIT")
        return db.serialize()


def schema(db: sqlite3.Connection) -> Schema:
    """Map the name of each table and index to its type and SQL."""
    rows = db.execute("SELECT name, type, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*'")
    return {name: (type, sql) for name, type, sql in rows}
