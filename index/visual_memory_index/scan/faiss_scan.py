"""All rows scored by FAISS, and how far its scores can be off: the one module that imports it."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, ThreadPoolExecutor, wait

import faiss
import numpy as np
from numpy.typing import NDArray

from visual_memory_index.scan.blocks import Blocks
from visual_memory_index.scan.bound import float32_bound
from visual_memory_index.scan.priority import lower_thread_priority
from visual_memory_index.scan.vectors import Rows

SCRATCH_ROWS = 1024  # FAISS multiplies so many rows at a time
SCANNED_MAX = 1024  # past it FAISS's selection costs more than scoring every row
PART_ROWS_MIN = 1024
TOGETHER = 256  # queries that FAISS makes room for; 4,096 would be 16 MB for each scan
GATHERED_SHARE = 0.25  # a smaller share of a block is copied together before it is multiplied

_threads: int
_scanners: Executor
_patient_scanners: Executor


def tune(threads: int) -> None:
    """Set FAISS up for this process: its threads, and its fast path for small batches too.

    Each thread scans a part by itself. FAISS's own sharing halves every step, and both then wait
    for the one whose processor also does something else: under load that took 1.4 times as long.
    """
    global _threads, _scanners, _patient_scanners
    faiss.cvar.distance_compute_blas_threshold = 1
    faiss.cvar.distance_compute_blas_query_bs = TOGETHER  # what it takes is filled and wiped
    _threads = threads
    _scanners = ThreadPoolExecutor(threads, "scan", faiss.omp_set_num_threads, (1,))
    _patient_scanners = ThreadPoolExecutor(threads, "patient-scan", _background)


def clear_scratch(dimension: int) -> None:
    """Overwrite what the libraries that multiply keep of the vectors that they multiplied last.

    They pack them into buffers of their own; every thread that scans packs zeros into all of it.
    """
    zeros = np.zeros((SCRATCH_ROWS, dimension), dtype=np.float32)

    def pack(together: threading.Barrier) -> None:
        together.wait()
        faiss.knn(zeros, zeros, 1, metric=faiss.METRIC_INNER_PRODUCT)
        np.matmul(zeros, zeros.T)

    for scanners in (_scanners, _patient_scanners):
        together = threading.Barrier(_threads)
        wait([scanners.submit(pack, together) for _ in range(_threads)])
    pack(threading.Barrier(1))


def _background() -> None:
    faiss.omp_set_num_threads(1)
    lower_thread_priority()


tune(faiss.omp_get_max_threads())


class FaissScan(Blocks):
    """Scores of all rows, and the ``bound`` that says what all of them prove.

    That is all that ``ScannedIndex`` asks of it: another scan in this place has scores of the same
    three kinds, its own bound for them, and ``best_max``, how many it is quick to find. What it
    keeps of each row beside the vector it keeps in ``append`` and ``remove``.
    """

    best_max = SCANNED_MAX

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.bound = float32_bound(dimension)

    def best(
        self, queries: NDArray[np.float32], most: int, *, patient: bool
    ) -> tuple[NDArray[np.float32], Rows]:
        """The ``most`` best scores (n, most) of queries (n, d), descending, and their rows."""
        if not most:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.intp)

        def best_of(part: tuple[int, NDArray[np.float32]]) -> tuple[NDArray[np.float32], Rows]:
            start, vectors = part
            scores, rows = faiss.knn(
                queries, vectors, min(most, len(vectors)), faiss.METRIC_INNER_PRODUCT
            )
            return scores, rows + start

        found = list((_patient_scanners if patient else _scanners).map(best_of, self._parts()))
        scores, rows = (np.concatenate(column, axis=1) for column in zip(*found, strict=True))
        order = np.argsort(-scores, axis=1)[:, :most]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def scores(self, queries: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
        """The scores (n, len(rows)) of queries (n, d) with ascending ``rows``."""
        scores = np.empty((len(queries), len(rows)), dtype=np.float32)
        for start, block in self._filled():
            first, end = np.searchsorted(rows, (start, start + len(block)))
            inside = rows[first:end] - start
            if len(inside) < GATHERED_SHARE * len(block):
                scores[:, first:end] = queries @ block[inside].T
            else:
                scores[:, first:end] = (queries @ block.T)[:, inside]
        return scores

    def best_of_rows(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """For every row the best score (m,) that one of ``vectors`` (n, d), n ≥ 1, has with it."""

        def best_of(part: tuple[int, NDArray[np.float32]]) -> NDArray[np.float32]:
            scores, _ = faiss.knn(part[1], vectors, 1, faiss.METRIC_INNER_PRODUCT)
            best_scores: NDArray[np.float32] = scores[:, 0]
            return best_scores

        return np.concatenate(list(_patient_scanners.map(best_of, self._parts())))

    def _parts(self) -> list[tuple[int, NDArray[np.float32]]]:
        """The first row and the rows of pieces that can be scanned side by side."""
        return [
            (start + inside, block[inside : inside + step])
            for start, block in self._filled()
            for step in [max(PART_ROWS_MIN, -(-len(block) // _threads))]
            for inside in range(0, len(block), step)
        ]
