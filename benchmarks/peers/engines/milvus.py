"""Milvus."""

from __future__ import annotations

from collections.abc import Sequence

from engines.engine import FIELDS, Engine, Ids, Vectors, Where, fields, padded


class MilvusLite(Engine):
    """Milvus Lite: a server in a thread of this process, called over gRPC, with the index FLAT."""

    name, package, compacts = "Milvus Lite", "milvus-lite", True

    def open(self) -> None:
        from pymilvus import MilvusClient

        self._client = MilvusClient(str(self.folder / "milvus.db"))
        if not self._client.has_collection(self.collection):
            self.make()
        self._client.load_collection(self.collection)

    def make(self) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
        for name in FIELDS:
            schema.add_field(name, DataType.INT64)
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self._client.create_collection(self.collection, schema=schema, index_params=index)

    def another(self, name: str) -> Engine:
        return self._beside(name)

    def insert(self, first: int, vectors: Vectors) -> None:
        rows = [{"id": id, "vector": row, **fields(id)} for id, row in enumerate(vectors, first)]
        self._client.insert(self.collection, rows)

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        filter = f"{where[0]} == {where[1]}" if where else ""
        found = self._client.search(
            self.collection,
            list(queries),
            filter=filter,
            limit=k,
            search_params={"metric_type": "IP"},
        )
        return padded([[hit["id"] for hit in hits] for hits in found], k)

    def delete(self, ids: Sequence[int]) -> None:
        self._client.delete(self.collection, ids=list(ids))

    def settle(self) -> None:
        self._client.flush(self.collection)

    def index_fields(self) -> None:
        index = self._client.prepare_index_params()
        for name in FIELDS:
            index.add_index(name, index_type="INVERTED")
        self._client.create_index(self.collection, index)

    def compact(self) -> None:
        self._client.compact(self.collection)

    def close(self) -> None:
        from milvus_lite.server_manager import server_manager_instance

        self._client.close()
        server_manager_instance.release_all()
