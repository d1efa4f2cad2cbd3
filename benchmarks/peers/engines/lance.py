"""LanceDB."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from engines.engine import FIELDS, Engine, Ids, Vectors, Where, padded


class LanceDB(Engine):
    """LanceDB in this process, without an index of the vectors."""

    name, package = "LanceDB", "lancedb"
    compacts = True

    def open(self) -> None:
        import lancedb
        import pyarrow

        self._arrow = pyarrow
        self._db = lancedb.connect(self.folder / "lance")
        names = self._db.table_names()
        self._table = self._db.open_table("bench") if "bench" in names else None

    def insert(self, first: int, vectors: Vectors) -> None:
        arrow, ids = self._arrow, np.arange(first, first + len(vectors))
        rows = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), self.dimension)
        by_field = {name: arrow.array(ids % modulus) for name, modulus in FIELDS.items()}
        data = arrow.table({"id": arrow.array(ids), "vector": rows, **by_field})
        if self._table is None:
            self._table = self._db.create_table("bench", data)
        else:
            self._table.add(data)

    def settle(self) -> None:
        assert self._table is not None
        self._table.optimize()

    def index_fields(self) -> None:
        assert self._table is not None
        for name in FIELDS:
            self._table.create_scalar_index(name, index_type="BITMAP")

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        assert self._table is not None
        asked = self._table.search(queries if len(queries) > 1 else queries[0])
        asked = asked.distance_type("dot").limit(k).select(["id", "_distance"])
        if where:
            asked = asked.where(f"{where[0]} = {where[1]}", prefilter=True)
        found = asked.to_arrow()
        ids = found["id"].to_numpy()
        if len(queries) == 1:
            return padded([ids], k)
        of = found["query_index"].to_numpy()
        return padded([ids[of == query] for query in range(len(queries))], k)

    def delete(self, ids: Sequence[int]) -> None:
        assert self._table is not None
        self._table.delete(f"id IN ({', '.join(map(str, ids))})")

    def compact(self) -> None:
        assert self._table is not None
        self._table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
