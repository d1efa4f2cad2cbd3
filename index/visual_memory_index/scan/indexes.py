"""The indexes of one process, which share threads and leave nothing in the buffers of BLAS."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes.groups import GROUP, INSTRUCTIONS
from visual_memory_index.codes.plane_scan import PlaneScan
from visual_memory_index.codes.planes import Planes
from visual_memory_index.rows import row_kernels, word_kernel
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.multiply import AT_ONCE, note, take_buffers, take_note
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.stored_rows import StoredRows
from visual_memory_index.scan.threads import PACKING, IndexThreads
from visual_memory_index.scan.vectors import Originals, ReadRows, UnitRows

PACKED_MAX = 1024  # rows of a block that BLAS packs, and numbers of each, at most
FEW = 8  # rows by which many are multiplied
TOGETHER_SECONDS = 60.0  # for which threads wait for each other


class ScannedIndexes:
    """An ``IndexFactory`` of indexes that share ``threads``; by default one a processor.

    The first one has the loops compiled, in the background: that takes some seconds, if the
    processor never ran them before.
    """

    instructions = INSTRUCTIONS
    unsearchable: Sequence[str] = ()

    def __init__(self, threads: int | None = None, originals: Originals = "ram") -> None:
        self.originals = originals
        self._threads = IndexThreads(threads or os.cpu_count() or 1)
        self.loading, self.checking = self._threads.loading, self._threads.checking
        self._threads.queries.submit(compile_loops)
        self._clearing = threading.Lock()  # or threads that pack would wait for each other
        take_buffers(AT_ONCE + PACKING)

    def new(
        self, dimension: int, *, background: bool = False, read: ReadRows | None = None
    ) -> ScannedIndex:
        rows: UnitRows = StoredRows(dimension, read) if read else Blocks(dimension)
        return ScannedIndex(rows, Planes(dimension), self._threads, background=background)

    def clear_scratch(self) -> None:
        """Overwrite the packing buffers of NumPy's BLAS, if they may hold vectors of any memory.

        BLAS takes the first buffer that is not in use, so as many threads pack zeros at the same
        time as there are buffers.
        """
        with self._clearing:
            width = take_note()
            if not width:
                return
            blocks = 2 * PACKED_MAX * (os.cpu_count() or 1)  # two for each thread of BLAS
            shape = blocks, min(width, PACKED_MAX)
            try:
                zeros = [np.zeros(shape, kind) for kind in (np.float32, np.float64)]
                pack_together(self._threads.packing, PACKING, zeros)
            except BaseException:
                note(width)
                raise


@cache
def compile_loops() -> None:
    """Have the loops over rows and words compiled, and those of a scan, by scanning."""
    row_kernels.compile_loops()
    word_kernel.compile_loop()
    planes, vectors = Planes(GROUP), np.eye(GROUP, dtype=np.float32)
    planes.append(vectors)
    with ThreadPoolExecutor(1) as thread:
        for queries in (vectors[:1], vectors):
            PlaneScan(planes, 1).candidates(queries, [1] * len(queries), None, thread)


def pack_together(
    threads: Executor, count: int, zeros: Sequence[NDArray[np.floating[Any]]]
) -> None:
    """Fill the buffers of ``count`` threads of NumPy's BLAS with ``zeros`` at the same time."""
    together = threading.Barrier(count, timeout=TOGETHER_SECONDS)
    for packed in [threads.submit(pack_numpy, zeros, together) for _ in range(count)]:
        packed.result()


def pack_numpy(zeros: Sequence[NDArray[np.floating[Any]]], together: threading.Barrier) -> None:
    """Fill buffers of NumPy's BLAS with ``zeros``, while other threads do so ``together``."""
    for many in zeros:
        together.wait()
        for few in (many[:1], many[:FEW]):
            np.matmul(few, many.T)
            np.matmul(many, few.T)
