"""The indexes of one process, which share threads and leave nothing in the buffers of BLAS."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from visual_memory_index.codes.groups import GROUP, INSTRUCTIONS
from visual_memory_index.codes.plane_scan import PlaneScan
from visual_memory_index.codes.planes import Planes
from visual_memory_index.rows import row_kernels, scratch, word_kernel
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.distances import exact_distances, unit_rows
from visual_memory_index.rows.multiply import buffers
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.stored_rows import StoredRows
from visual_memory_index.scan.threads import IndexThreads
from visual_memory_index.scan.vectors import Originals, ReadRows, UnitRows


class ScannedIndexes:
    """An ``IndexFactory`` of indexes that share ``threads``; by default one a processor.

    The first one has the loops compiled, in the background: that takes some seconds, if the
    processor never ran them before.
    """

    instructions = INSTRUCTIONS
    unsearchable: Sequence[str]

    def __init__(self, threads: int | None = None, originals: Originals = "ram") -> None:
        self.originals = originals
        self._threads = IndexThreads(threads or os.cpu_count() or 1, compile_loops)
        self.loading, self.checking = self._threads.loading, self._threads.checking
        self.prepared = self._threads.prepared
        self.unsearchable = () if buffers().clearable else ("NumPy's BLAS",)

    def new(
        self, dimension: int, *, background: bool = False, read: ReadRows | None = None
    ) -> ScannedIndex:
        rows: UnitRows = StoredRows(dimension, read) if read else Blocks(dimension)
        return ScannedIndex(rows, Planes(dimension), self._threads, background=background)

    def clear_scratch(self) -> None:
        """Clear the buffers of NumPy's BLAS and the calling thread's stack, of parts of vectors."""
        buffers().clear()
        scratch.clear_stack()


@cache
def compile_loops() -> None:
    """Have the loops over rows and words compiled, and those of a scan, by scanning."""
    scratch.compile_functions()
    row_kernels.compile_loops()
    word_kernel.compile_loop()
    planes, vectors = Planes(GROUP), np.eye(GROUP, dtype=np.float32)
    exact_distances(vectors[0], unit_rows(2 * vectors))
    planes.append(vectors)
    with ThreadPoolExecutor(1) as thread:
        for queries in (vectors[:1], vectors):
            PlaneScan(planes, 1).candidates(queries, [1] * len(queries), None, thread)
