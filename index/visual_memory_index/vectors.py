"""The vectors of one memory in RAM, and which of them could be nearest to a query."""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from visual_memory_index.distances import score_error

BLOCK_BYTES = 1 << 26  # scanning 100,000 × 768 in blocks of 50 to 100 MB: 5 to 9 % over one piece
SCRATCH_ROWS = 1024  # FAISS multiplies so many rows at a time
SLACK = 16  # rows scanned beyond k, so that the error bound is met at once
SCANNED_MAX = 1024  # past it FAISS's selection costs more than scoring every row
PART_ROWS_MIN = 1024
PATIENT_NICENESS = 10  # of Linux: about a tenth of the processor beside a thread that wants all
SCORED_AT_ONCE = 64
TOGETHER = 256  # queries that FAISS makes room for; 4,096 would be 16 MB for each scan
GATHERED_SHARE = 0.25  # a smaller share of a block is copied together before it is multiplied

Rows = NDArray[np.intp]

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
    _patient_scanners = ThreadPoolExecutor(threads, "patient-scan", be_patient)


def fresh_block(rows: int, dimension: int) -> NDArray[np.float32]:
    """Room for rows that takes none until it is written: the C library would fill it first.

    In large pages where the system has such, as NumPy asks for: a scan goes through all of it.
    """
    room = mmap.mmap(-1, 4 * rows * dimension)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        room.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(room, dtype=np.float32).reshape(rows, dimension)


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


def be_patient() -> None:
    """Let this thread have what others leave; where threads have no priority, an equal share."""
    faiss.omp_set_num_threads(1)
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PATIENT_NICENESS)


tune(faiss.omp_get_max_threads())


class Doubt(NamedTuple):
    """Queries of one vector, by number, and rows among which are its nearest, perhaps its own."""

    numbers: list[int]
    candidates: Rows


class Others(NamedTuple):
    """The nearest others of some rows: ``lists`` int32 (n, k) in no order where ``settled`` (n,).

    A vector that scores below ``floors``, float32 (n,), is not among them. ``doubts`` are about the
    rest, each found when it is asked for.
    """

    lists: NDArray[np.int32]
    floors: NDArray[np.float32]
    settled: NDArray[np.bool_]
    doubts: Iterator[Doubt]


class VectorIndex:
    """Unit vectors float32 (m, d) in rows that stay dense: deleting moves the last row.

    Rows live in blocks of fixed size, so growing copies nothing. Not safe for threads: the owner
    lets no one read while ``swap_remove`` runs. ``append`` writes only rows that nobody sees
    until ``publish``. A ``patient`` one is for work that takes long: its scans make way for others.
    """

    def __init__(self, dimension: int, *, patient: bool = False) -> None:
        self.dimension, self._patient = dimension, patient
        self.count = 0
        self._block_rows = max(1024, BLOCK_BYTES // (4 * dimension))
        self._blocks: list[NDArray[np.float32]] = []
        self._error = score_error(dimension)

    def reserve(self, count: int) -> None:
        """Have room for ``count`` rows, whose pages the system has given already."""
        while len(self._blocks) * self._block_rows < count:
            self._blocks.append(fresh_block(self._block_rows, self.dimension))
        for number, block in enumerate(self._blocks):
            start = number * self._block_rows
            block[max(0, self.count - start) : max(0, count - start), 0] = 0.0

    def append(self, vectors: NDArray[np.float32], at: int) -> None:
        """Write ``vectors`` (b, d) into the rows from ``at``, past the published ones."""
        self.reserve(at + len(vectors))
        written = 0
        while written < len(vectors):
            block, row = divmod(at + written, self._block_rows)
            part = vectors[written : written + self._block_rows - row]
            self._blocks[block][row : row + len(part)] = part
            written += len(part)

    def publish(self, count: int) -> None:
        """Let ``count`` rows be found."""
        self.count = count

    def swap_remove(self, row: int) -> None:
        """Move the last row into ``row`` and wipe where it was: O(d)."""
        last = self._row(self.count - 1)
        self._row(row)[:] = last
        last[:] = 0.0
        self.count -= 1
        if (len(self._blocks) - 1) * self._block_rows > self.count:
            self._blocks.pop()

    def blocks(self) -> list[NDArray[np.float32]]:
        """The published rows, in pieces."""
        return [block for _, block in self._filled()]

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ``rows`` together: float32 (len(rows), d)."""
        gathered = np.empty((len(rows), self.dimension), dtype=np.float32)
        of_block = rows // self._block_rows
        for number, block in enumerate(self._blocks):
            inside = of_block == number
            gathered[inside] = block[rows[inside] - number * self._block_rows]
        return gathered

    def candidates(
        self, queries: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[Rows]
    ) -> list[Rows]:
        """For each query (n, d), rows among which are its k nearest that are not ``excluded``.

        Proven by the error bound of the float32 scan: with the k-th best score s, no row scored
        below s − 2·error can be nearer than all of the k rows scored s or more.
        """
        wanted = np.array([k + len(rows) for k, rows in zip(ks, excluded, strict=True)], dtype=int)
        scanned = int(wanted.max(initial=0)) + SLACK
        if scanned > min(SCANNED_MAX, self.count):
            scanned = 0
        scores, rows = self._scan(queries, scanned, patient=self._patient)
        found: list[Rows] = []
        for number, (k, without) in enumerate(zip(ks, excluded, strict=True)):
            admitted = ~np.isin(rows[number], without)
            kept, kept_scores = rows[number][admitted], scores[number][admitted]
            if len(kept) >= k and scores[number, -1] < self._floor(kept_scores[k - 1]):
                found.append(kept[kept_scores >= self._floor(kept_scores[k - 1])])
            else:
                others = np.ones(self.count, dtype=bool)
                others[without] = False
                query = queries[number : number + 1]
                found += self.candidates_among(query, k, np.flatnonzero(others))
        return found

    def others(self, rows: Rows, k: int) -> Others:
        """The k nearest others of each row, where the scan alone settles them."""
        queries = self.gather(rows)
        scores, found = self._scan(queries, min(k + 1 + SLACK, self.count), patient=True)
        own = found == rows[:, np.newaxis]
        others = np.argsort(own, axis=1, kind="stable")[:, :-1]
        scores = np.take_along_axis(scores, others, axis=1)
        found = np.take_along_axis(found, others, axis=1)
        exact_floors = self._floors(scores[:, k - 1])
        floors = np.nextafter(exact_floors.astype(np.float32), np.float32(-np.inf))
        among = scores >= exact_floors[:, np.newaxis]
        deep = own.any(axis=1) & (~among[:, -1] | (scores.shape[1] == self.count - 1))
        close = deep & (among.sum(axis=1) > k)

        def doubts() -> Iterator[Doubt]:
            for number in np.flatnonzero(close):
                yield Doubt([int(number)], found[number][among[number]])
            yield from self._crowds(queries, np.flatnonzero(~deep), k)

        return Others(found[:, :k].astype(np.int32), floors, deep & ~close, doubts())

    def _crowds(self, queries: NDArray[np.float32], numbers: Rows, k: int) -> Iterator[Doubt]:
        """Candidates for the ``numbers`` of ``queries`` (n, d), which more rows than scanned are
        equally near to; equal queries share theirs.
        """
        groups: dict[bytes, list[int]] = {}
        for number in numbers.tolist():
            groups.setdefault(queries[number].tobytes(), []).append(number)
        alike = list(groups.values())
        for start in range(0, len(alike), SCORED_AT_ONCE):
            part = alike[start : start + SCORED_AT_ONCE]
            asked = queries[[group[0] for group in part]]
            found = self.candidates_among(asked, k + 1, np.arange(self.count))
            yield from map(Doubt, part, found)

    def reached(
        self, vectors: NDArray[np.float32], floors: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """For every row whether one of ``vectors`` (n, d), n ≥ 1, scores its floor or more."""

        def best(part: tuple[int, NDArray[np.float32]]) -> NDArray[np.float32]:
            scores, _ = faiss.knn(part[1], vectors, 1, faiss.METRIC_INNER_PRODUCT)
            best_scores: NDArray[np.float32] = scores[:, 0]
            return best_scores

        reached: NDArray[np.bool_] = (
            np.concatenate(list(_patient_scanners.map(best, self._parts()))) >= floors
        )
        return reached

    def candidates_among(self, queries: NDArray[np.float32], k: int, rows: Rows) -> list[Rows]:
        """Like ``candidates`` for queries (n, d) that may only find the ascending ``rows``."""
        if k >= len(rows):
            return [rows] * len(queries)
        found: list[Rows] = []
        for start in range(0, len(queries), SCORED_AT_ONCE):
            for scores in self._scores(queries[start : start + SCORED_AT_ONCE], rows):
                floor = self._floor(np.partition(scores, len(scores) - k)[len(scores) - k])
                found.append(rows[scores >= floor])
        return found

    def _floor(self, score: np.float32) -> np.float64:
        floor: np.float64 = self._floors(np.array([score]))[0]
        return floor

    def _floors(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """The lowest float32 score that a vector as near as the one scored so can have.

        Norms up to 1 + 1e-6 take cosines past ±1, where the clamped distances are all equal.
        """
        cosines = np.minimum(scores.astype(np.float64) - self._error, 1.0)
        return np.where(cosines > -1.0, cosines - self._error, -np.inf)

    def _row(self, row: int) -> NDArray[np.float32]:
        block, inside = divmod(row, self._block_rows)
        vector: NDArray[np.float32] = self._blocks[block][inside]
        return vector

    def _filled(self) -> list[tuple[int, NDArray[np.float32]]]:
        """The first row and the published part of each block."""
        starts = range(0, self.count, self._block_rows)
        return [
            (start, block[: self.count - start])
            for start, block in zip(starts, self._blocks, strict=False)
        ]

    def _scan(
        self, queries: NDArray[np.float32], most: int, *, patient: bool
    ) -> tuple[NDArray[np.float32], Rows]:
        """The ``most`` best scores (n, most), descending, and their rows."""
        if not most:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.intp)

        def best(part: tuple[int, NDArray[np.float32]]) -> tuple[NDArray[np.float32], Rows]:
            start, vectors = part
            scores, rows = faiss.knn(
                queries, vectors, min(most, len(vectors)), faiss.METRIC_INNER_PRODUCT
            )
            return scores, rows + start

        found = list((_patient_scanners if patient else _scanners).map(best, self._parts()))
        scores, rows = (np.concatenate(column, axis=1) for column in zip(*found, strict=True))
        order = np.argsort(-scores, axis=1)[:, :most]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def _parts(self) -> list[tuple[int, NDArray[np.float32]]]:
        """The first row and the rows of pieces that can be scanned side by side."""
        return [
            (start + inside, block[inside : inside + step])
            for start, block in self._filled()
            for step in [max(PART_ROWS_MIN, -(-len(block) // _threads))]
            for inside in range(0, len(block), step)
        ]

    def _scores(self, queries: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
        """Float32 inner products (n, len(rows)) of ``queries`` (n, d) with ``rows``."""
        scores = np.empty((len(queries), len(rows)), dtype=np.float32)
        for start, block in self._filled():
            first, end = np.searchsorted(rows, (start, start + len(block)))
            inside = rows[first:end] - start
            if len(inside) < GATHERED_SHARE * len(block):
                scores[:, first:end] = queries @ block[inside].T
            else:
                scores[:, first:end] = (queries @ block.T)[:, inside]
        return scores
