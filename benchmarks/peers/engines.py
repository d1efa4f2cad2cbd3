"""This service and its peers, each as one engine with the same few methods.

All of them hold unit vectors and answer the nearest by cosine. An id is a number, and each entry
has two fields to filter by, made from its id: ``percent`` (id % 100) and ``tenth`` (id % 10).
Engines are set to search exhaustively where they can.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
Where = tuple[str, int] | None

FIELDS = {"percent": 100, "tenth": 10}
STARTED_SECONDS = 120.0
THREADS = os.cpu_count() or 1


def fields(id: int) -> dict[str, int]:
    """Return the fields of the entry with this id."""
    return {name: id % modulus for name, modulus in FIELDS.items()}


def matching(ids: Ids, where: Where) -> NDArray[np.bool_]:
    """Return a mask of the ``ids`` whose entries match."""
    if where is None:
        return np.ones(len(ids), bool)
    name, value = where
    matches: NDArray[np.bool_] = ids % FIELDS[name] == value
    return matches


class Engine:
    """One engine on the ``folder`` given to it; ``open`` comes first, ``close`` last.

    ``durable`` says what is on the disk when an insertion returns. ``filters`` and ``deletes`` are
    True if it can; more than ``rows_max`` rows would take it hours.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    durable: ClassVar[str] = "nothing: RAM alone"
    deletes: ClassVar[bool] = True
    filters: ClassVar[bool] = True
    rows_max: ClassVar[int] = 10_000_000

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder, self.dimension, self.collection = folder, dimension, "bench"

    def another(self, name: str) -> Engine:
        """Return another open collection, of the same server if it is one."""
        folder = self.folder / name
        folder.mkdir()
        engine = type(self)(folder, self.dimension)
        engine.open()
        return engine

    def _beside(self, name: str) -> Self:
        engine = copy(self)
        engine.collection = name
        engine.make()
        return engine

    def make(self) -> None:
        """Make the collection on a server."""

    @property
    def version(self) -> str:
        from importlib.metadata import version

        return version(self.package)

    def open(self) -> None:
        """Open what is stored in the folder, or make it."""

    @abstractmethod
    def insert(self, first: int, vectors: Vectors) -> None:
        """Insert vectors with ids from ``first`` on, as durably as the engine does."""

    def settle(self) -> None:
        """Do what remains after all insertions, so that the engine searches at its speed."""

    def tune(self, batch: int, clients: int) -> None:
        """Prepare for ``batch`` queries at a time, by so many ``clients`` at once."""

    @abstractmethod
    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        """Return the ids of the nearest: int64 (n, k), or −1."""

    def delete(self, ids: Sequence[int]) -> None:
        """Delete entries, each by its id; only where ``deletes``."""
        raise TypeError(f"{self.name} cannot delete")

    def pids(self) -> list[int]:
        """Return the processes whose RAM is the engine's."""
        return [os.getpid()]

    def close(self) -> None:
        """Store what is to be stored, and let go."""


def padded(rows: Sequence[Sequence[int]], k: int) -> Ids:
    found = np.full((len(rows), k), -1, np.int64)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = list(ids)[:k]
    return found


class VisualMemory(Engine):
    """This service, in a process of its own, by its blocking client."""

    name, package = "Visual Memory", "visual-memory"
    durable = "fsynced"

    def open(self) -> None:
        from served import served

        import visual_memory

        self._closing = ExitStack()
        self._server = self._closing.enter_context(served(self.folder / "data"))
        client = self._closing.enter_context(visual_memory.connect(self._server.address))
        self._client = client
        if client.memories():
            self._memory = client.memory(self.collection)
        else:
            self.make()

    def make(self) -> None:
        self._memory = self._client.create_memory(self.collection, dimension=self.dimension)

    def another(self, name: str) -> Engine:
        return self._beside(name)

    def insert(self, first: int, vectors: Vectors) -> None:
        ids = range(first, first + len(vectors))
        self._memory.insert(
            vectors=vectors,
            labels=[f"label {id % 1000}" for id in ids],
            ids=[str(id) for id in ids],
            metadata=[{name: str(value) for name, value in fields(id).items()} for id in ids],
        )

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        filter = f'metadata.{where[0]} = "{where[1]}"' if where else None
        found = self._memory.search(vectors=queries, k=k, filter=filter)
        return padded([[*map(int, each.ids)] for each in found], k)

    def delete(self, ids: Sequence[int]) -> None:
        self._memory.delete([str(id) for id in ids])

    def pids(self) -> list[int]:
        return [self._server.pid]

    def close(self) -> None:
        self._closing.close()


class Flat(Engine):
    """FAISS's flat index, its BLAS threshold tuned; the file is written whole."""

    name, package = "FAISS flat", "faiss-cpu"
    index_type = "IndexFlatIP"

    def open(self) -> None:
        import faiss

        self._faiss: Any = faiss
        path = self.folder / "index"
        if path.exists():
            self._index = faiss.read_index(str(path))
            self._ids = np.load(self.folder / "ids.npy")
        else:
            self._index, self._ids = self._make(), np.empty(0, np.int64)

    def _make(self) -> Any:
        return self._faiss.IndexFlatIP(self.dimension)

    def tune(self, batch: int, clients: int) -> None:
        self._faiss.cvar.distance_compute_blas_threshold = 1 if batch > 1 else 1 << 30
        self._faiss.omp_set_num_threads(1 if clients > 1 else THREADS)

    def insert(self, first: int, vectors: Vectors) -> None:
        self._index.add(vectors)
        self._ids = np.append(self._ids, np.arange(first, first + len(vectors)))

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        params = None
        if where is not None:
            rows = np.flatnonzero(matching(self._ids, where))
            selector = self._faiss.IDSelectorBatch(rows)
            params = self._faiss.SearchParameters(sel=selector)
        _, rows = self._index.search(queries, k, params=params)
        return np.where(rows >= 0, self._ids[rows], -1)

    def delete(self, ids: Sequence[int]) -> None:
        gone = np.isin(self._ids, ids)
        self._index.remove_ids(self._faiss.IDSelectorBatch(np.flatnonzero(gone)))
        self._ids = self._ids[~gone]

    def close(self) -> None:
        self._faiss.write_index(self._index, str(self.folder / "index"))
        np.save(self.folder / "ids.npy", self._ids)


class Panorama(Flat):
    """FAISS's flat index that leaves out dimensions by bounds."""

    name, filters, deletes = "FAISS FlatIPPanorama", False, False
    levels = 8

    def _make(self) -> Any:
        return self._faiss.IndexFlatIPPanorama(self.dimension, self.levels)

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        _, rows = self._index.search(queries, k)
        return np.where(rows >= 0, self._ids[rows], -1)


class Arrays(Engine):
    """An array in RAM, for libraries that search in arrays of their user."""

    filters, deletes = False, False
    threads = 2

    def tune(self, batch: int, clients: int) -> None:
        self.threads = 1 if clients > 1 else THREADS

    def open(self) -> None:
        path = self.folder / "vectors.npy"
        self._parts = [np.load(path)] if path.exists() else []
        self.settle()

    def insert(self, first: int, vectors: Vectors) -> None:
        self._parts.append(vectors)

    def settle(self) -> None:
        if self._parts:
            self._vectors = np.concatenate(self._parts)
            self._parts = [self._vectors]

    def close(self) -> None:
        np.save(self.folder / "vectors.npy", self._vectors)


class Usearch(Arrays):
    name, package = "usearch, exact", "usearch"

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        from usearch.index import MetricKind, search

        found = search(self._vectors, queries, k, MetricKind.IP, exact=True, threads=self.threads)
        return np.asarray(found.keys, np.int64).reshape(len(queries), -1)


class ScikitLearn(Arrays):
    name, package = "scikit-learn, brute", "scikit-learn"

    def settle(self) -> None:
        super().settle()
        if self._parts:
            from sklearn.neighbors import NearestNeighbors

            self._neighbors = NearestNeighbors(algorithm="brute", metric="cosine", n_jobs=THREADS)
            self._neighbors.fit(self._vectors)

    def tune(self, batch: int, clients: int) -> None:
        self._neighbors.set_params(n_jobs=1 if clients > 1 or batch == 1 else THREADS)

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        rows: Ids = self._neighbors.kneighbors(queries, k, return_distance=False)
        return rows


class Hnswlib(Engine):
    """A graph, which is approximate, with ef = 400."""

    name, package = "hnswlib (approximate)", "hnswlib"
    rows_max = 100_000

    def open(self) -> None:
        import hnswlib

        self._index = hnswlib.Index(space="ip", dim=self.dimension)
        path = self.folder / "index"
        if path.exists():
            self._index.load_index(str(path), max_elements=0)
        else:
            self._index.init_index(max_elements=1024, M=16, ef_construction=200)
        self._index.set_ef(400)
        self.tune(1, 1)

    def tune(self, batch: int, clients: int) -> None:
        self._index.set_num_threads(1 if clients > 1 or batch == 1 else THREADS)

    def insert(self, first: int, vectors: Vectors) -> None:
        count = self._index.get_current_count() + len(vectors)
        if count > self._index.get_max_elements():
            self._index.resize_index(2 * count)
        self._index.add_items(vectors, np.arange(first, first + len(vectors)))

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        by = None if where is None else lambda id: id % FIELDS[where[0]] == where[1]
        ids, _ = self._index.knn_query(queries, k, filter=by)
        rows: Ids = ids.astype(np.int64)
        return rows

    def delete(self, ids: Sequence[int]) -> None:
        for id in ids:
            self._index.mark_deleted(id)

    def close(self) -> None:
        self._index.save_index(str(self.folder / "index"))


class QdrantEdge(Engine):
    """Qdrant's shard in this process, its vectors in RAM, no graph."""

    name, package = "Qdrant Edge", "qdrant-edge-py"
    durable = "in a log, synced by flush"

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
        )
        self._shard = qdrant_edge.EdgeShard.create(str(path), config)

    def insert(self, first: int, vectors: Vectors) -> None:
        points = [
            self._edge.Point(id, vector, fields(id))
            for id, vector in enumerate(vectors.tolist(), first)
        ]
        self._shard.update(self._edge.UpdateOperation.upsert_points(points))
        self._shard.flush()

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


class MilvusLite(Engine):
    """Milvus Lite: a server in this process, called over gRPC, with the index FLAT."""

    name, package = "Milvus Lite", "milvus-lite"
    durable = "as Milvus Lite does"

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

    def close(self) -> None:
        from milvus_lite.server_manager import server_manager_instance

        self._client.close()
        server_manager_instance.release_all()


class LanceDB(Engine):
    """LanceDB in this process, without an index."""

    name, package = "LanceDB", "lancedb"
    durable = "files written for each batch"

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

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        assert self._table is not None
        found = []
        for query in queries:
            asked = self._table.search(query).distance_type("dot").limit(k)
            asked = asked.select(["id", "_distance"])
            if where:
                asked = asked.where(f"{where[0]} = {where[1]}", prefilter=True)
            found.append(asked.to_arrow()["id"].to_pylist())
        return padded(found, k)

    def delete(self, ids: Sequence[int]) -> None:
        assert self._table is not None
        self._table.delete(f"id IN ({', '.join(map(str, ids))})")


class SqliteVec(Engine):
    """sqlite-vec with the pragmas of this service's files, in apsw, which loads extensions."""

    name, package = "sqlite-vec", "sqlite-vec"
    durable = "fsynced"

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


class Pgvector(Engine):
    """PostgreSQL with pgvector, without an index, two workers for a query."""

    name, package = "pgvector", "pgvector"
    durable = "fsynced"
    programs: ClassVar[Path] = Path("/usr/lib/postgresql")

    @property
    def version(self) -> str:
        with self._connect() as db:
            found = db.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
            return f"{found.fetchone()[0]}, PostgreSQL {db.info.server_version // 10_000}"

    def _program(self, name: str) -> str:
        newest = max(self.programs.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
        return str(newest)

    def open(self) -> None:
        data = self.folder / "postgres"
        user = "postgres" if os.geteuid() == 0 else None  # root may not run it
        new = not data.exists()
        if new:
            data.mkdir()
            if user:
                for each in (data, *data.parents):
                    if each.stat().st_uid == 0 and str(each).startswith(str(self.folder)):
                        shutil.chown(each, "postgres")
            command = [self._program("initdb"), "-D", str(data), "-U", "bench", "-A", "trust"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "shared_buffers": "6GB",
            "max_parallel_workers_per_gather": THREADS,
            "min_parallel_table_scan_size": 0,
            "max_connections": 200,
            "max_wal_size": "8GB",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(
            [self._program("postgres"), "-D", str(data), *options],
            stderr=subprocess.DEVNULL,
            user=user,
        )
        self._wait()
        if new:
            with self._connect() as db:
                db.execute("CREATE EXTENSION vector")
            self.make()
        self._local = threading.local()

    def make(self) -> None:
        columns = ", ".join(f"{name} integer" for name in FIELDS)
        with self._connect() as db:
            db.execute(
                f"CREATE TABLE {self.collection} (id bigint PRIMARY KEY, "
                f"vector vector({self.dimension}) STORAGE PLAIN, {columns})"
            )

    def another(self, name: str) -> Engine:
        return self._beside(name)

    def _wait(self) -> None:
        import psycopg

        until = time.monotonic() + STARTED_SECONDS
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self._port, user="bench", dbname="postgres", autocommit=True
        )

    @property
    def _db(self) -> Any:
        if not hasattr(self._local, "db"):
            from pgvector.psycopg import register_vector

            self._local.db = self._connect()
            register_vector(self._local.db)
        return self._local.db

    def insert(self, first: int, vectors: Vectors) -> None:
        with self._db.cursor() as cursor:
            columns = ", ".join(("id", "vector", *FIELDS))
            command = f"COPY {self.collection} ({columns}) FROM STDIN WITH (FORMAT BINARY)"
            with cursor.copy(command) as rows:
                rows.set_types(["int8", "vector", *["int4"] * len(FIELDS)])
                for id, row in enumerate(vectors, first):
                    rows.write_row((id, row, *fields(id).values()))

    def settle(self) -> None:
        self._db.execute(f"VACUUM ANALYZE {self.collection}")

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        only = f"WHERE {where[0]} = {where[1]} " if where else ""
        ask = f"SELECT id FROM {self.collection} {only}ORDER BY vector <#> %s LIMIT {k}"
        found = [self._db.execute(ask, (query,), binary=True).fetchall() for query in queries]
        return padded([[id for (id,) in rows] for rows in found], k)

    def delete(self, ids: Sequence[int]) -> None:
        self._db.execute(f"DELETE FROM {self.collection} WHERE id = ANY(%s)", (list(ids),))

    def pids(self) -> list[int]:
        return [self._server.pid, *children_of(self._server.pid)]

    def close(self) -> None:
        if hasattr(self._local, "db"):
            self._local.db.close()
        self._server.send_signal(signal.SIGINT)
        self._server.wait(120)


def children_of(pid: int) -> list[int]:
    """Return the processes below a process."""
    found = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [*found, *(below for child in found for below in children_of(child))]


ENGINES: dict[str, type[Engine]] = {
    each.name: each
    for each in (
        VisualMemory,
        Flat,
        Panorama,
        Usearch,
        ScikitLearn,
        Hnswlib,
        QdrantEdge,
        MilvusLite,
        LanceDB,
        SqliteVec,
        Pgvector,
    )
}
