"""Search of a memory for entries with the content of given ones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from visual_memory_index.store.store import Sought, hashed

STORED = (
    "SELECT id, content_sha256, vector_checksum, vector FROM entries JOIN vectors USING (key) "
    "WHERE id IN (SELECT value FROM json_each(?))"
)
OF_IDS = (
    "SELECT EXISTS (SELECT 1 FROM entries WHERE id IN (SELECT value FROM json_each(?1)) "
    "AND id NOT IN (SELECT value FROM json_each(?2)))"
)
OF_HASHES = (
    "SELECT EXISTS (SELECT 1 FROM entries "
    "WHERE hex(content_sha256) IN (SELECT value FROM json_each(?1)) "
    "AND id NOT IN (SELECT value FROM json_each(?2)))"
)
OF_CHECKSUMS = (
    "SELECT vector FROM entries JOIN vectors USING (key) "
    "WHERE vector_checksum IN (SELECT value FROM json_each(?1)) "
    "AND id NOT IN (SELECT value FROM json_each(?2))"
)


def sought(db: sqlite3.Connection, uid: str, ids: Sequence[str]) -> Sought:
    """Return the ``ids`` that are stored, with hashes of their content for comparison."""
    found = Sought(uid)
    for id, content_sha256, checksum, vector in db.execute(STORED, (json.dumps(list(ids)),)):
        found.ids.append(id)
        if content_sha256:
            found.hashes.add(content_sha256)
        found.checksums.add(checksum)
        found.vectors.add(hashed(vector))
    return found


def holds(db: sqlite3.Connection, uid: str, sought: Sought, without: Sequence[str]) -> bool:
    """Return True if an entry not in ``without`` is one of ``sought`` or has the same content.

    ``uid`` is that of the memory in ``db``, see ``Store.holds``.
    """
    left_out = json.dumps(list(without))

    def ask(select: str, values: Iterable[str | int]) -> sqlite3.Cursor:
        return db.execute(select, (json.dumps(list(values)), left_out))

    if uid == sought.uid and ask(OF_IDS, sought.ids).fetchone()[0]:
        return True
    if ask(OF_HASHES, [each.hex().upper() for each in sought.hashes]).fetchone()[0]:
        return True
    alike = ask(OF_CHECKSUMS, sought.checksums)
    return any(hashed(vector) in sought.vectors for (vector,) in alike)
