"""Qdrant."""

from __future__ import annotations

from collections.abc import Sequence

from engines.engine import FIELDS, THREADS, Engine, Ids, Vectors, Where, fields, padded

WITHOUT_GRAPH = 1 << 40  # kilobytes of a segment from which on Qdrant would make one


class QdrantEdge(Engine):
    """Qdrant's shard in this process: a segment for each core, a payload index, and no graph."""

    name, package = "Qdrant Edge", "qdrant-edge-py"
    compacts = True

    def open(self) -> None:
        import qdrant_edge

        self._edge = qdrant_edge
        path = self.folder / "shard"
        if path.exists():
            self._shard = qdrant_edge.EdgeShard.load(str(path))
            return
        path.mkdir()
        config = qdrant_edge.EdgeConfig(
            vectors=qdrant_edge.EdgeVectorParams(self.dimension, qdrant_edge.Distance.Dot),
            max_search_threads=THREADS,
            optimizers=qdrant_edge.EdgeOptimizersConfig(
                default_segment_number=THREADS, indexing_threshold=WITHOUT_GRAPH
            ),
        )
        self._shard = qdrant_edge.EdgeShard.create(str(path), config)

    def insert(self, first: int, vectors: Vectors) -> None:
        points = [
            self._edge.Point(id, vector, fields(id))
            for id, vector in enumerate(vectors.tolist(), first)
        ]
        self._shard.update(self._edge.UpdateOperation.upsert_points(points))
        self._shard.flush()

    def settle(self) -> None:
        self._shard.optimize()

    compact = settle

    def index_fields(self) -> None:
        for name in FIELDS:
            integer = self._edge.PayloadSchemaType.Integer
            self._shard.update(self._edge.UpdateOperation.create_field_index(name, integer))

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        edge, chosen = self._edge, None
        if where is not None:
            match = edge.FieldCondition(where[0], match=edge.MatchValue(where[1]))
            chosen = edge.Filter(must=[match])
        exact = edge.SearchParams(exact=True)
        asked = [
            edge.QueryRequest(k, query=edge.Query.Nearest(query), filter=chosen, params=exact)
            for query in queries.tolist()
        ]
        found = self._shard.query_batch(edge.QueryBatchRequest(asked))
        return padded([[point.id for point in points] for points in found], k)

    def delete(self, ids: Sequence[int]) -> None:
        self._shard.update(self._edge.UpdateOperation.delete_points(list(ids)))
        self._shard.flush()

    def close(self) -> None:
        self._shard.close()
