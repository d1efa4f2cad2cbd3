"""sqlite-vec."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from engines.engine import FIELDS, Engine, Ids, Vectors, Where, fields, padded


class SqliteVec(Engine):
    """sqlite-vec with the pragmas of this service's files, in apsw, which loads extensions."""

    name, package = "sqlite-vec", "sqlite-vec"
    compacts = True

    def open(self) -> None:
        self._local = threading.local()
        columns = ", ".join(f"{name} integer" for name in FIELDS)
        self._db.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS bench USING vec0(id integer primary key, "
            f"vector float[{self.dimension}] distance_metric=cosine, {columns})"
        )

    @property
    def _db(self) -> Any:
        """The connection of this thread."""
        if not hasattr(self._local, "db"):
            import apsw
            import sqlite_vec

            db = apsw.Connection(str(self.folder / "vectors.sqlite"))
            db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")
            db.enable_load_extension(True)
            db.load_extension(sqlite_vec.loadable_path())
            self._local.db = db
        return self._local.db

    def tune(self, batch: int, clients: int) -> None:
        self._db.execute("SELECT count(*) FROM sqlite_schema").fetchall()

    def insert(self, first: int, vectors: Vectors) -> None:
        with self._db as db:
            rows = enumerate(vectors, first)
            values = [(id, row.tobytes(), *fields(id).values()) for id, row in rows]
            db.executemany("INSERT INTO bench VALUES (?, ?, ?, ?)", values)

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        also = f" AND {where[0]} = {where[1]}" if where else ""
        ask = f"SELECT id FROM bench WHERE vector MATCH ? AND k = ?{also} ORDER BY distance"
        found = [self._db.execute(ask, (query.tobytes(), k)).fetchall() for query in queries]
        return padded([[id for (id,) in rows] for rows in found], k)

    def delete(self, ids: Sequence[int]) -> None:
        with self._db as db:
            db.executemany("DELETE FROM bench WHERE id = ?", [(id,) for id in ids])

    def compact(self) -> None:
        self._db.execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
