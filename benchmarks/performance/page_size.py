"""SQLite page sizes compared for entries with vectors, in batches and one by one."""

from __future__ import annotations

import sqlite3
from functools import partial

import numpy as np
from ratios import connect_bare
from served import folder, seconds

from visual_memory_index.files.migrations import MEMORY_STEPS, migrate

ROWS, DIMENSION, BATCH, SINGLES = 20_000, 1280, 256, 200
LOAD = "SELECT id, label, vector FROM entries JOIN vectors USING (key)"
FILTER = "SELECT key FROM entries WHERE label = 'label 7'"
INSERT = (
    "INSERT INTO entries (key, id, label, metadata, created_at, content_sha256) "
    "VALUES (?, ?, ?, '{}', 0, x'00')"
)


def insert(db: sqlite3.Connection, blobs: list[bytes]) -> None:
    for start in range(0, ROWS, BATCH):
        keys = range(start, min(start + BATCH, ROWS))
        db.execute("BEGIN IMMEDIATE")
        db.executemany(INSERT, [(key, f"{key:026}", f"label {key % 100}") for key in keys])
        db.executemany(
            "INSERT INTO vectors VALUES (?, ?)", [(key, blobs[key % len(blobs)]) for key in keys]
        )
        db.execute("COMMIT")


def insert_one_by_one(db: sqlite3.Connection, blob: bytes) -> None:
    for key in range(ROWS, ROWS + SINGLES):
        db.execute("BEGIN IMMEDIATE")
        db.execute(INSERT, (key, f"{key}", "label"))
        db.execute("INSERT INTO vectors VALUES (?, ?)", (key, blob))
        db.execute("COMMIT")


def read(db: sqlite3.Connection, statement: str) -> None:
    db.execute(statement).fetchall()


def delete(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in range(0, ROWS, 10)])
    db.execute("COMMIT")


def main() -> None:
    rows = np.random.default_rng(0).standard_normal((512, DIMENSION), dtype=np.float32)
    blobs = [row.tobytes() for row in rows]
    print(f"{ROWS} × {DIMENSION}; seconds, medians of 3")
    columns = ("insert", "load", "filter", "delete", "singles", "file MB")
    print(f"{'page bytes':>10}" + "".join(f"{column:>9}" for column in columns))
    for page_bytes in (4096, 8192, 16384, 32768, 65536):
        times = []
        for _ in range(3):
            with folder() as work:
                path = work / "memory.sqlite"
                db = connect_bare(path, page_bytes)
                db.execute("PRAGMA foreign_keys = ON")
                migrate(db, MEMORY_STEPS, path)
                inserting = seconds(partial(insert, db, blobs))
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                loading = seconds(partial(read, db, LOAD))
                filtering = seconds(partial(read, db, FILTER))
                deleting = seconds(partial(delete, db))
                singles = seconds(partial(insert_one_by_one, db, blobs[0]))
                size = path.stat().st_size / 1e6
                db.close()
            times.append((inserting, loading, filtering, deleting, singles, size))
        middle = np.median(times, axis=0)
        print(f"{page_bytes:>10}" + "".join(f"{value:>9.3f}" for value in middle))


if __name__ == "__main__":
    main()
