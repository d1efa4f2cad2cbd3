"""All texts and blobs in a memory's file, to be searched for residue of unlearned entries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain

BETWEEN, SEARCHED_AT_ONCE = bytes(64), 1 << 20
PARTS = (
    "SELECT CAST(id || label || metadata AS BLOB), vector, "
    "ifnull(image, x''), ifnull(thumbnail, x'') "
    "FROM entries JOIN vectors USING (key) LEFT JOIN images USING (key)"
)  # texts in their order in the file

# All else in the file; it is no residue of an erased entry, but may have the same text.
BESIDE = (
    "SELECT CAST('SQLite format 3' AS BLOB)",
    "SELECT CAST(name AS BLOB), CAST(ifnull(sql, '') AS BLOB) FROM sqlite_schema",
    "SELECT CAST(name AS BLOB), CAST(ifnull(embedder, '') AS BLOB), CAST(uid AS BLOB) FROM memory",
    "SELECT CAST(name AS BLOB), CAST(value AS BLOB) FROM settings",
    "SELECT CAST(label AS BLOB) FROM relabels",
    "SELECT CAST(name AS BLOB), CAST(kind AS BLOB), CAST(ifnull(result, '') AS BLOB), "
    "CAST(ifnull(problem, '') AS BLOB), CAST(principal AS BLOB) FROM operations",
    "SELECT CAST(event AS BLOB) FROM audit",
    "SELECT CAST(id AS BLOB) FROM erasing",
    "SELECT CAST(request_id AS BLOB), CAST(answer AS BLOB) FROM requests",
    "SELECT code FROM codes",
)


def retained_bytes(db: sqlite3.Connection) -> Iterator[bytes]:
    """Yield all texts and blobs of the file, as stored, in chunks of about 1 MiB."""
    selected = (chain.from_iterable(db.execute(each)) for each in (PARTS, *BESIDE))
    return in_chunks(chain(indexed(db), *selected))


def indexed(db: sqlite3.Connection) -> Iterator[bytes]:
    """Yield texts between the bytes of the keys that lie beside them, of ids and of pairs.

    The key's bytes may look like text that belongs to the id.
    """
    for id, key in db.execute("SELECT CAST(id AS BLOB), key FROM entries"):
        yield id + as_stored(key)
    query = "SELECT segment, CAST(name || value AS BLOB), key FROM pairs"
    for segment, texts, key in db.execute(query):
        yield as_stored(segment) + texts + as_stored(key)


def as_stored(number: int) -> bytes:
    """Return the bytes that a number has in a row, but for zeros in front."""
    return number.to_bytes(8, "big").lstrip(b"\0")


def in_chunks(values: Iterable[bytes]) -> Iterator[bytes]:
    """Join values, separated by 64 zero bytes, into chunks of about 1 MiB."""
    part: list[bytes] = []
    size = 0
    for value in values:
        part.append(value)
        size += len(value)
        if size >= SEARCHED_AT_ONCE:
            yield BETWEEN.join(part)
            part, size = [], 0
    yield BETWEEN.join(part)
