"""Libraries that search in RAM, in the process that calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.engine import FIELDS, THREADS, Engine, Ids, Vectors, Where, matching


class Flat(Engine):
    """FAISS's flat index, its BLAS threshold tuned; the file is written whole."""

    name, package, in_ram = "FAISS flat", "faiss-cpu", True

    def open(self) -> None:
        import faiss

        self._faiss: Any = faiss
        self._chosen: dict[Where, Any] = {}
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
        self._chosen.clear()

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        params = None
        if where is not None:
            if where not in self._chosen:
                bits = np.packbits(matching(self._ids, where), bitorder="little")
                self._chosen[where] = self._faiss.IDSelectorBitmap(bits)
            params = self._faiss.SearchParameters(sel=self._chosen[where])
        _, rows = self._index.search(queries, k, params=params)
        return np.where(rows >= 0, self._ids[rows], -1)

    def delete(self, ids: Sequence[int]) -> None:
        gone = np.isin(self._ids, ids)
        self._index.remove_ids(self._faiss.IDSelectorBatch(np.flatnonzero(gone)))
        self._ids = self._ids[~gone]
        self._chosen.clear()

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

    in_ram, filters, deletes, collections = True, False, False, False

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

        found = search(self._vectors, queries, k, MetricKind.IP, exact=True, threads=THREADS)
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
    """A graph, which is approximate; the effort is ``ef``."""

    name, package, in_ram = "hnswlib (approximate)", "hnswlib", True
    efforts = (10, 20, 40, 60, 80, 120, 160, 200, 240, 280, 320, 400, 480, 560, 640)

    def open(self) -> None:
        import hnswlib

        self._index = hnswlib.Index(space="ip", dim=self.dimension)
        path = self.folder / "index"
        if path.exists():
            self._index.load_index(str(path), max_elements=0)
        else:
            self._index.init_index(max_elements=1024, M=16, ef_construction=200)
        self.set_effort(self.efforts[0])

    def set_effort(self, effort: int) -> None:
        self._index.set_ef(effort)

    def tune(self, batch: int, clients: int) -> None:
        self._index.set_num_threads(1 if clients > 1 or batch == 1 else THREADS)

    def insert(self, first: int, vectors: Vectors) -> None:
        count = self._index.get_current_count() + len(vectors)
        if count > self._index.get_max_elements():
            self._index.resize_index(2 * count)
        self._index.set_num_threads(THREADS)
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
