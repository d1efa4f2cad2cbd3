"""Reading the entries of a memory's file, inside whichever transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from visual_memory_index import digest as digests
from visual_memory_index.audit import Head
from visual_memory_index.entry import Entry, Parts
from visual_memory_index.errors import CorruptStore
from visual_memory_index.filter import Filter, to_sql
from visual_memory_index.store import StoredRows

ROWS_AT_ONCE = 64
PART_COLUMNS = (
    (Parts.VECTOR, "vectors", "vector"),
    (Parts.IMAGE, "images", "image"),
    (Parts.THUMBNAIL, "images", "thumbnail"),
)
ROWS = "SELECT key, id, label, vector FROM entries JOIN vectors USING (key)"
ELEMENTS = (
    "SELECT id, label, metadata, vector, iif(images.key IS NULL, x'', content_sha256), "
    "pruned_by IS NULL FROM entries JOIN vectors USING (key) LEFT JOIN images USING (key)"
)


def read_entries(
    db: sqlite3.Connection,
    condition: str,
    parameters: Sequence[str | int],
    *,
    limit: int,
    parts: Parts = Parts.NONE,
) -> Iterator[Entry]:
    """Entries under an SQL condition of ours."""
    columns = [
        f"(SELECT {column} FROM {table} WHERE {table}.key = entries.key)"
        if part in parts
        else "NULL"
        for part, table, column in PART_COLUMNS
    ]
    rows = db.execute(
        "SELECT id, label, metadata, created_at, content_sha256, coalesce(pruned_by, ''), "
        f"{', '.join(columns)} FROM entries WHERE {condition} LIMIT ?",
        (*parameters, limit),
    )
    for id, label, metadata, created_at, content_sha256, pruned_by, row, image, thumbnail in rows:
        yield Entry(
            id=id,
            label=label,
            vector=None if row is None else np.frombuffer(row, "<f4"),
            metadata=json.loads(metadata),
            created_at=created_at,
            content_sha256=content_sha256,
            pruned_by=pruned_by,
            image=image or b"",
            thumbnail=thumbnail or b"",
        )


def read_ids(db: sqlite3.Connection, filter: Filter) -> list[str]:
    """The ids that ``filter`` admits, ascending."""
    condition, parameters = where(filter)
    rows = db.execute(f"SELECT id FROM entries WHERE {condition} ORDER BY id", parameters)
    return [id for (id,) in rows]


def where(filter: Filter | None) -> tuple[str, list[str | int]]:
    """A filter as an SQL condition with its parameters."""
    return to_sql(filter) if filter else ("TRUE", [])


def stored_rows(
    rows: Sequence[tuple[int, str, str, bytes]], dimension: int, revision: int, path: Path
) -> StoredRows:
    """What was read by ``ROWS``. Raises CorruptStore."""
    keys, ids, labels, blobs = zip(*rows, strict=True) if rows else ((), (), (), ())
    if any(len(blob) != 4 * dimension for blob in blobs):
        raise CorruptStore(str(path), "a vector has another length than the rest")
    vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, dimension)
    return StoredRows(keys, ids, labels, vectors.astype(np.float32, copy=False), revision)


def read_standing(db: sqlite3.Connection) -> tuple[digests.State, Head]:
    """Where the digest and the audit log stand."""
    row = db.execute("SELECT digest, audit_size, audit_peaks, audit_last FROM memory").fetchone()
    return digests.from_bytes(row[0]), Head(*row[1:])


def state_of(db: sqlite3.Connection, keys: Sequence[int]) -> digests.State:
    """What the entries of these keys are in the digest."""
    state = digests.empty()
    for start in range(0, len(keys), ROWS_AT_ONCE):
        part = json.dumps(list(keys[start : start + ROWS_AT_ONCE]))
        rows = db.execute(f"{ELEMENTS} WHERE key IN (SELECT value FROM json_each(?))", (part,))
        state = digests.moved(state, came=[digests.element(*row) for row in rows])
    return state
