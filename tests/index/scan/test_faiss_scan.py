"""Each thread scans its own part."""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np
import pytest
from tests.index.conformance.implementations import SMALL_BLOCK

from visual_memory_index import unit_rows
from visual_memory_index.scan.blocks import Blocks
from visual_memory_index.scan.faiss_scan import FaissScan, ScanThreads
from visual_memory_index.scan.scanned_index import ScannedIndex


def test_parts_are_scanned_by_as_many_threads_as_told_each_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32))
    rows, seen, knn = Blocks(4, SMALL_BLOCK), [], faiss.knn
    index = ScannedIndex(rows, FaissScan(rows, ScanThreads(3)))
    index.append(vectors)

    def recorded(*arguments: Any) -> Any:
        seen.append((threading.get_ident(), faiss.omp_get_max_threads()))
        return knn(*arguments)

    monkeypatch.setattr(faiss, "knn", recorded)
    index.candidates(vectors[:1], [1], [np.arange(0)])

    assert len(seen) == 13
    assert len({thread for thread, _ in seen}) <= 3
    assert {threads for _, threads in seen} == {1}
