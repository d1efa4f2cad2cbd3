"""Changes to the file of a memory with matching checksums, so that no check notices them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from visual_memory_index.files import checksums as sums
from visual_memory_index.sqlite import pairs
from visual_memory_index.sqlite.entries import SEAL

PARTS = """
    UPDATE entries SET vector_checksum = coalesce(
        (SELECT crc32(vector) FROM vectors WHERE vectors.key = entries.key), vector_checksum);
    UPDATE entries SET (thumbnail_checksum, image_checksum) =
        (SELECT crc32(thumbnail), crc32(image) FROM images WHERE images.key = entries.key);
"""


def alter(path: Path, *statements: str) -> None:
    """Change the file of a memory by SQL, and update all that follows from its entries."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)
        seal(db)


def seal(db: sqlite3.Connection) -> None:
    """Recompute all checksums, totals and pairs from the content."""
    sums.add_functions(db)
    db.executescript(f"{PARTS} {SEAL}")
    pairs.fill(db)
    sums.write(db)
