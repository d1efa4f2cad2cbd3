"""Scoring of all rows by FAISS, in threads that scans share: only this module imports FAISS."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from visual_memory_index.scan.blocks import Blocks
from visual_memory_index.scan.bound import float32_error
from visual_memory_index.scan.priority import lower_thread_priority
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.vectors import Rows

T = TypeVar("T")

SCRATCH_ROWS = 1024  # FAISS multiplies so many rows at a time
SCANNED_MAX = 1024  # past it FAISS's selection costs more than scoring every row
PART_ROWS_MIN = 1024
TOGETHER = 256  # queries that FAISS makes room for; 4,096 would be 16 MB for each scan
PACKED_MAX = 1024  # rows of a block that BLAS packs, at most; it has a multiple of PACKED_STEP
PACKED_STEP = 32
MULTIPLYING = 16  # threads that multiply at the same time, so that each has buffers of its own
FEW = 8  # rows by which many are multiplied
TOGETHER_SECONDS = 60.0  # for which threads wait for each other
GATHERED_SHARE = 0.25  # a smaller share of a block is copied together before it is multiplied


class ScanThreads:
    """``count`` threads that scan for queries, and as many of lower priority for the background.

    Each thread scans a part by itself. FAISS's own threads divide every step, and wait for the
    thread whose processor also does something else: under load that took 1.4 times as long.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.queries: Executor = ThreadPoolExecutor(count, "scan", faiss.omp_set_num_threads, (1,))
        self.background: Executor = ThreadPoolExecutor(count, "background-scan", _background)


def _background() -> None:
    faiss.omp_set_num_threads(1)
    lower_thread_priority()


class FaissScan:
    """A ``Scan`` by float32 inner products, which keeps nothing beside the vectors."""

    name = "float32"
    best_max = SCANNED_MAX

    def __init__(self, rows: Blocks, threads: ScanThreads) -> None:
        self._rows, self._threads = rows, threads
        self.error_max = float32_error(rows.dimension)

    def errors(self, rows: Rows) -> NDArray[np.float64]:
        return np.broadcast_to(np.float64(self.error_max), rows.shape)

    def best(
        self, queries: NDArray[np.float32], most: int, *, background: bool
    ) -> tuple[NDArray[np.float32], Rows]:
        if not most:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.intp)

        def best_of(part: tuple[int, NDArray[np.float32]]) -> tuple[NDArray[np.float32], Rows]:
            start, vectors = part
            scores, rows = faiss.knn(
                queries, vectors, min(most, len(vectors)), faiss.METRIC_INNER_PRODUCT
            )
            return scores, rows + start

        threads = self._threads.background if background else self._threads.queries
        found = list(threads.map(best_of, self._parts()))
        scores, rows = (np.concatenate(column, axis=1) for column in zip(*found, strict=True))
        order = np.argsort(-scores, axis=1)[:, :most]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def run(self, multiply: Callable[[], T], *, background: bool) -> T:
        threads = self._threads.background if background else self._threads.queries
        return threads.submit(multiply).result()

    def scores(self, queries: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
        scores = np.empty((len(queries), len(rows)), dtype=np.float32)
        for start, block in self._rows.filled():
            first, end = np.searchsorted(rows, (start, start + len(block)))
            inside = rows[first:end] - start
            if len(inside) < GATHERED_SHARE * len(block):
                scores[:, first:end] = queries @ block[inside].T
            else:
                scores[:, first:end] = (queries @ block.T)[:, inside]
        return scores

    def best_of_rows(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        def best_of(part: tuple[int, NDArray[np.float32]]) -> NDArray[np.float32]:
            scores, _ = faiss.knn(part[1], queries, 1, faiss.METRIC_INNER_PRODUCT)
            best_scores: NDArray[np.float32] = scores[:, 0]
            return best_scores

        return np.concatenate(list(self._threads.background.map(best_of, self._parts())))

    def reserve(self, count: int) -> None:
        """Do nothing, whatever the ``count``: this scan keeps no data beside the vectors."""

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Do nothing with ``vectors``: this scan keeps no data beside them."""

    def remove(self, rows: Rows) -> None:
        """Do nothing, whatever the ``rows``: this scan keeps no data beside the vectors."""

    def _parts(self) -> list[tuple[int, NDArray[np.float32]]]:
        """Return arrays to be scanned at the same time, each with the number of its first row."""
        return [
            (start + inside, block[inside : inside + step])
            for start, block in self._rows.filled()
            for step in [max(PART_ROWS_MIN, -(-len(block) // self._threads.count))]
            for inside in range(0, len(block), step)
        ]


class FaissIndexes:
    """An ``IndexFactory`` whose indexes share ``threads``, in which FAISS scans them.

    Making it sets FAISS's fast path for small batches, for the whole process.
    """

    unsearchable: Sequence[str] = ()

    def __init__(self, threads: int | None = None) -> None:
        faiss.cvar.distance_compute_blas_threshold = 1
        faiss.cvar.distance_compute_blas_query_bs = TOGETHER  # memory that it fills and wipes
        self._threads = ScanThreads(threads or faiss.omp_get_max_threads())

    def new(self, dimension: int, *, background: bool = False) -> ScannedIndex:
        rows = Blocks(dimension)
        return ScannedIndex(rows, FaissScan(rows, self._threads), background=background)

    def clear_scratch(self, dimension: int) -> None:
        """Overwrite the BLAS and FAISS packing buffers, which still hold the last vectors.

        Every scanning thread packs zeros into all buffers of its own, and as many threads as may
        multiply at the same time into those of NumPy's BLAS.
        """
        blocks = 2 * PACKED_MAX * (os.cpu_count() or 1)  # two for each thread of BLAS
        zeros = [np.zeros((blocks, dimension), kind) for kind in (np.float32, np.float64)]

        def pack(together: threading.Barrier) -> None:
            together.wait()
            pack_faiss(dimension)
            pack_numpy(zeros, together)

        for threads in (self._threads.queries, self._threads.background):
            together = threading.Barrier(self._threads.count)
            packing = [threads.submit(pack, together) for _ in range(self._threads.count)]
            for packed in packing:
                packed.result()
        together = threading.Barrier(MULTIPLYING, timeout=TOGETHER_SECONDS)
        with ThreadPoolExecutor(MULTIPLYING) as others:
            for packed in [others.submit(pack_numpy, zeros, together) for _ in range(MULTIPLYING)]:
                packed.result()


def pack_faiss(dimension: int) -> None:
    """Fill the buffers of the calling thread's FAISS with zeros.

    BLAS packs a block of as many rows as the processor suits, but of fewer than two blocks it packs
    two halves. So each number of rows is packed that may be a block of this processor.
    """
    zeros = np.zeros((SCRATCH_ROWS, dimension), dtype=np.float32)
    faiss.knn(zeros[:TOGETHER], zeros, 1, metric=faiss.METRIC_INNER_PRODUCT)
    for rows in range(SCRATCH_ROWS // 2, SCRATCH_ROWS, PACKED_STEP):
        faiss.knn(zeros[:PACKED_STEP], zeros[:rows], 1, metric=faiss.METRIC_INNER_PRODUCT)


def pack_numpy(zeros: Sequence[NDArray[np.floating[Any]]], together: threading.Barrier) -> None:
    """Fill buffers of NumPy's BLAS with ``zeros``, while other threads do so ``together``."""
    for many in zeros:
        together.wait()
        for few in (many[:1], many[:FEW]):
            np.matmul(few, many.T)
            np.matmul(many, few.T)
