"""Reading entries of a memory's file, in any transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import CorruptStore
from visual_memory_index.files.checksums import checksum
from visual_memory_index.files.damage import NotAsWritten
from visual_memory_index.ledger import digest as digests
from visual_memory_index.ledger.audit import Head
from visual_memory_index.records.entry import Entry, Keys, Parts, VotingEntries
from visual_memory_index.records.filter import Filter
from visual_memory_index.records.steps import steps
from visual_memory_index.sqlite.filter_sql import to_sql

ROWS_AT_ONCE, VECTORS_AT_ONCE = 64, 1024
PART_COLUMNS = (
    (Parts.VECTOR, "vectors", "vector"),
    (Parts.IMAGE, "images", "image"),
    (Parts.THUMBNAIL, "images", "thumbnail"),
)


class Row(NamedTuple):
    """A row of the table ``entries``; its checksum is of all values before it, in this order."""

    key: int
    id: str
    label: str
    metadata: str
    created_at: int
    content_sha256: bytes
    pruned_by: str | None
    relabelled_by: str | None
    vector_checksum: int
    thumbnail_checksum: int | None
    image_checksum: int | None
    checksum: int


ROW = ", ".join(Row._fields)
VALUES = ROW.removesuffix(", checksum")
VECTOR_CHECKSUM = Row._fields.index("vector_checksum")
SEAL = f"UPDATE entries SET checksum = checksum({VALUES})"
ROWS = f"SELECT {ROW}, vector FROM entries LEFT JOIN vectors USING (key)"
ROWS_OF = f"{ROWS} WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key"


def verified(values: Sequence[Any]) -> Row:
    """Make a ``Row`` of values selected by ``ROW``, after comparing its checksum.

    Raises NotAsWritten.
    """
    row = Row(*values)
    if checksum(tuple(values[:-1])) != row.checksum:
        raise NotAsWritten(f"the entry of key {row.key} is not as it was written")
    return row


def check_row(row: tuple[Any, ...]) -> None:
    """Compare a row selected by ``ROWS`` with its checksums. Raises NotAsWritten."""
    vector = row[-1]
    if checksum(row[:-2]) != row[-2] or crc_of(vector) != row[VECTOR_CHECKSUM]:
        check_part("vector", row[0], verified(row[:-1]).vector_checksum, vector)


def check_part(part: str, key: int, written: int | None, data: object) -> None:
    """Compare an entry's vector or picture, perhaps None, with the checksum ``written`` for it.

    Raises NotAsWritten, which names the ``part``.
    """
    if written != crc_of(data):
        raise NotAsWritten(f"the {part} of the entry of key {key} is not as it was written")


def crc_of(data: object) -> int | None:
    """Return CRC-32 of bytes, None for None, and −1 for another type, which only damage gives."""
    if data is None:
        return None
    return crc32(data) if isinstance(data, bytes) else -1


def read_entries(
    db: sqlite3.Connection,
    condition: str,
    parameters: Sequence[str | int],
    *,
    limit: int,
    parts: Parts = Parts.NONE,
) -> Iterator[Entry]:
    """Yield up to ``limit`` entries that match an SQL condition with these ``parameters``.

    Of the large ``parts`` of an entry only those are read. Raises NotAsWritten.
    """
    columns = [
        f"(SELECT {column} FROM {table} WHERE {table}.key = entries.key)"
        if part in parts
        else "NULL"
        for part, table, column in PART_COLUMNS
    ]
    has_vector, has_image, has_thumbnail = (part in parts for part, *_ in PART_COLUMNS)
    rows = db.execute(
        f"SELECT {ROW}, {', '.join(columns)} FROM entries WHERE {condition} LIMIT ?",
        (*parameters, limit),
    )
    for *values, vector, image, thumbnail in rows:
        row = verified(values)
        if has_vector:
            check_part("vector", row.key, row.vector_checksum, vector)
        if has_image:
            check_part("image", row.key, row.image_checksum, image)
        if has_thumbnail:
            check_part("thumbnail", row.key, row.thumbnail_checksum, thumbnail)
        yield Entry(
            id=row.id,
            label=row.label,
            vector=None if vector is None else np.frombuffer(vector, "<f4"),
            metadata=json.loads(row.metadata),
            created_at=row.created_at,
            content_sha256=row.content_sha256,
            pruned_by=row.pruned_by or "",
            image=image or b"",
            thumbnail=thumbnail or b"",
        )


def read_vectors(db: sqlite3.Connection, keys: Keys) -> Iterator[tuple[int, bytes]]:
    """Yield key and vector of each entry that has one of the ``keys``, ascending.

    Raises NotAsWritten if anything of such an entry is not as it was written.
    """
    for step in steps(len(keys), VECTORS_AT_ONCE):
        part = json.dumps(keys[step].tolist())
        for row in db.execute(ROWS_OF, (part,)).fetchall():
            check_row(row)
            yield row[0], row[-1]


def read_ids(db: sqlite3.Connection, filter: Filter) -> list[str]:
    """Return the ids of the entries that match ``filter``, ascending."""
    condition, parameters = to_sql(filter)
    rows = db.execute(f"SELECT id FROM entries WHERE {condition} ORDER BY id", parameters)
    return [id for (id,) in rows]


def keys_text(db: sqlite3.Connection, filter: Filter) -> str:
    """Return the keys of the entries that match ``filter``, with spaces between, in no order."""
    condition, parameters = to_sql(filter)
    query = f"SELECT group_concat(key, ' ') FROM entries WHERE {condition}"
    text: str | None = db.execute(query, parameters).fetchone()[0]
    return text or ""


def to_numbers(text: str | None) -> NDArray[np.int64]:
    """Return the numbers that ``group_concat`` wrote with spaces between, None if there were none.

    As one text they are read several times as fast as row by row.
    """
    return np.fromstring(text, np.int64, sep=" ") if text else np.empty(0, np.int64)


def voting(rows: Sequence[tuple[Any, ...]], dimension: int, path: Path) -> VotingEntries:
    """Return the entries in rows selected by ``ROWS``, after comparing their checksums.

    Raises NotAsWritten for a row that differs, and as ``to_matrix``.
    """
    for row in rows:
        check_row(row)
    keys, ids, labels, *_, blobs = zip(*rows, strict=True) if rows else ((), (), (), ())
    vectors = to_matrix(blobs, dimension, path).astype(np.float32, copy=False)
    return VotingEntries(np.array(keys, np.int64), to_array(ids), to_array(labels), vectors)


def joined(parts: Sequence[VotingEntries]) -> VotingEntries:
    """Return the entries of all ``parts``, of which there is at least one."""
    columns = zip(*(part[:-1] for part in parts), strict=True)  # without codes, which none has
    return VotingEntries(*map(np.concatenate, columns))


def to_array(values: Sequence[str | None]) -> NDArray[np.object_]:
    """Return an array of these values (n,)."""
    return np.fromiter(values, object, len(values))


def to_matrix(vectors: Sequence[bytes], dimension: int, path: Path) -> NDArray[np.float32]:
    """Return the ``vectors`` stored in the file at ``path`` as a matrix, little-endian float32.

    Raises CorruptStore if a vector is not of this dimension.
    """
    if any(len(vector) != 4 * dimension for vector in vectors):
        raise CorruptStore(path, "a vector has another length than the rest")
    return np.frombuffer(b"".join(vectors), "<f4").reshape(-1, dimension)


def read_standing(db: sqlite3.Connection) -> tuple[digests.State, Head]:
    """Read the state of the digest and the head of the audit log."""
    row = db.execute("SELECT digest, audit_size, audit_peaks, audit_last FROM memory").fetchone()
    return digests.from_bytes(row[0]), Head(*row[1:])


class Share(NamedTuple):
    """The part of some entries in the digest's ``state``, the row count and the checksum total."""

    state: digests.State
    size: int
    sum: int


def rows_of(db: sqlite3.Connection, keys: Sequence[int]) -> list[tuple[Row, bytes]]:
    """Return the entries with these keys, each with its vector. Raises NotAsWritten."""
    rows = db.execute(ROWS_OF, (json.dumps(keys),)).fetchall()
    for row in rows:
        check_row(row)
    return [(Row(*row[:-1]), row[-1]) for row in rows]


def share_of(db: sqlite3.Connection, keys: Keys) -> Share:
    """Return what the entries with these ``keys`` add to the digest and to the checksum totals.

    Raises NotAsWritten.
    """
    share = Share(digests.empty(), 0, 0)
    for step in steps(len(keys), ROWS_AT_ONCE):
        rows = rows_of(db, keys[step].tolist())
        share = Share(
            digests.moved(share.state, came=[element(row, vector) for row, vector in rows]),
            share.size + len(rows),
            share.sum + sum(row.checksum for row, _ in rows),
        )
    return share


def share_of_all(db: sqlite3.Connection) -> Share:
    """Return what all entries together add to the digest and to the checksum totals.

    Raises NotAsWritten.
    """
    keys = (key for (key,) in db.execute("SELECT key FROM entries"))
    return share_of(db, np.fromiter(keys, np.int64))


def altered(row: Row, columns: Sequence[str], values: Sequence[str | None]) -> Row:
    """Return a copy of a row with new ``values`` in these columns, and a new checksum."""
    changes: dict[str, Any] = dict(zip(columns, values, strict=True))
    new = row._replace(**changes)
    return new._replace(checksum=checksum(new[:-1]))


def element(row: Row, vector: bytes) -> bytes:
    """Return the bytes by which an entry is counted in the digest."""
    image_sha256 = b"" if row.image_checksum is None else row.content_sha256
    votes = row.pruned_by is None
    return digests.element(row.id, row.label, row.metadata, vector, image_sha256, votes)
