"""The codes of vectors in a memory's file, from which a start is quicker than from the vectors.

They follow from the vectors: where one is missing or damaged it is made again. Each has 4 bytes
behind it that depend on it, the key of the entry and the checksum of the vector.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.entry import CodedEntries
from visual_memory_index.sqlite.entries import to_numbers

# One step for many rows, during which other threads of Python go on. A code that cannot be one is
# read as zeros.
CODED = """
    SELECT group_concat(key, ' '), json_group_array(id) AS id, json_group_array(label) AS label,
        group_concat(vector_checksum, ' '),
        CAST(group_concat(iif(length(code) = :width, code, zeroblob(:width)), '') AS BLOB)
    FROM (
        SELECT key, id, label, vector_checksum, code FROM entries LEFT JOIN codes USING (key)
        WHERE key > :after AND pruned_by IS NULL ORDER BY key LIMIT :limit
    )
"""
CHECK_BYTES = 4
CODES_VERSION = b"visual memory 1"  # changes with the codes of vectors: those of before are damaged
Bytes = NDArray[np.uint8]
Int64 = NDArray[np.int64]


def add(db: sqlite3.Connection, keys: range, codes: Bytes, vector_checksums: Sequence[int]) -> None:
    """Store the ``codes`` (n, b) of new entries, by key; the table is otherwise before them."""
    data = sealed(np.arange(keys.start, keys.stop), codes, np.array(vector_checksums, np.int64))
    db.execute(
        "INSERT INTO codes SELECT key, substr(?1, 1 + (key - ?2) * ?3, ?3) "
        "FROM entries WHERE key >= ?2",
        (data.tobytes(), keys.start, data.shape[1]),
    )


def keep(db: sqlite3.Connection, keys: Int64, codes: Bytes) -> None:
    """Store the ``codes`` (n, b) of ascending ``keys`` of entries, in place of those stored."""
    listed = json.dumps(keys.tolist())
    checksums = db.execute(
        "SELECT vector_checksum FROM entries "
        "WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",
        (listed,),
    )
    data = sealed(keys, codes, np.array([checksum for (checksum,) in checksums], np.int64))
    db.execute(
        "INSERT OR REPLACE INTO codes "
        "SELECT each.value, substr(?1, 1 + each.key * ?2, ?2) FROM json_each(?3) AS each",
        (data.tobytes(), data.shape[1], listed),
    )


def read(db: sqlite3.Connection, after: int, limit: int, size: int) -> CodedEntries:
    """Return up to ``limit`` voting entries with keys ``after`` a key, ascending.

    Codes of ``size`` bytes that are missing or damaged are not ``stored``. Ids and labels are not
    compared with checksums: ``read_vectors`` does that for all that are near to a query.
    """
    width = size + CHECK_BYTES
    parameters = {"width": width, "after": after, "limit": limit}
    keys, ids, labels, checksums, stored = db.execute(CODED, parameters).fetchone()
    words = np.frombuffer(stored or b"", "<u4").reshape(-1, width // CHECK_BYTES)
    code_words, numbers = words[:, :-1], to_numbers(keys)
    same = words[:, -1] == checks(code_words, numbers, to_numbers(checksums))
    there = code_words.any(axis=1)  # no code is all zeros
    codes = words.view(np.uint8)[:, :size]
    return CodedEntries(numbers, json.loads(ids), json.loads(labels), codes, same & there)


def sealed(keys: Int64, codes: Bytes, vector_checksums: Int64) -> Bytes:
    """Return ``codes`` (n, b), b a multiple of 4, each with its check behind it: (n, b + 4)."""
    found = checks(np.ascontiguousarray(codes).view("<u4"), keys, vector_checksums)
    return np.hstack([codes, found[:, np.newaxis].view(np.uint8)])


def checks(words: NDArray[np.uint32], keys: Int64, vector_checksums: Int64) -> NDArray[np.uint32]:
    """Return the check of each code, whose numbers are ``words`` (n, b / 4): (n,).

    It is the upper half of a sum modulo 2⁶⁴ of products with random numbers, which one in 2³²
    changes of any words leaves as it was (Dietzfelbinger, 1996, "Universal hashing and k-wise
    independent random variables via integer arithmetic without primes"). NumPy computes those of
    many codes at a time.
    """
    factors = random_numbers(words.shape[1] + 2)
    by_key, by_checksum = factors[:2]
    sums = np.einsum("ij,j->i", words, factors[2:], dtype=np.uint64)
    sums += keys.astype(np.uint64) * by_key + vector_checksums.astype(np.uint64) * by_checksum
    found: NDArray[np.uint32] = (sums >> np.uint64(32)).astype("<u4")
    return found


@cache
def random_numbers(count: int) -> NDArray[np.uint64]:
    """Return so many numbers, always the same while codes are computed in the same way."""
    data = hashlib.shake_256(CODES_VERSION).digest(8 * count)
    return np.frombuffer(data, "<u8").astype(np.uint64)
