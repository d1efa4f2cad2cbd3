"""A vector index that scans codes of all rows, and leaves out those that these prove too far."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes.bound import float32_error, reach
from visual_memory_index.codes.groups import GROUP
from visual_memory_index.codes.plane_scan import PART_ROWS_MIN, Crowded, PlaneScan
from visual_memory_index.codes.planes import Planes
from visual_memory_index.rows.multiply import multiply
from visual_memory_index.rows.rows import RowBits, Rows
from visual_memory_index.scan.ranking import rank_all
from visual_memory_index.scan.stored_rows import StoredRows
from visual_memory_index.scan.threads import IndexThreads
from visual_memory_index.scan.vectors import Ids, NearestOthers, UnitRows, Unresolved

TOGETHER_MAX = 4096  # sum of k and excluded rows
MULTIPLIED_AT_ONCE = 4096  # rows that are copied


class ScannedIndex:
    """A ``VectorIndex``: ``rows`` are the vectors, ``planes`` their codes, which are in RAM.

    An index in the ``background`` lets the searches of other indexes go first.
    """

    together_max = TOGETHER_MAX

    def __init__(
        self,
        rows: UnitRows,
        planes: Planes,
        threads: IndexThreads,
        *,
        background: bool = False,
    ) -> None:
        self._rows, self._planes = rows, planes
        self._scan = PlaneScan(planes, threads.count)
        self._background, self._prepared = threads.background, threads.prepared
        self._threads = threads.background if background else threads.queries
        self.dimension, self.blocks = rows.dimension, rows.blocks
        self.gather, self.distances = rows.gather, rows.distances
        self.encode, self.codes, self.traces = planes.encode, planes.codes, planes.traces
        self.code_bytes = planes.code_bytes
        self._error = float32_error(rows.dimension)

    @property
    def count(self) -> int:
        return self._rows.count

    @property
    def answers_at_once(self) -> bool:
        return self._prepared.done()

    def reserve(self, count: int) -> None:
        self._rows.reserve(count)
        self._planes.reserve(count)

    def append(self, vectors: NDArray[np.float32], codes: NDArray[np.uint8] | None = None) -> None:
        if codes is None:
            self._planes.append(vectors)
        else:
            self._planes.append_codes(codes)
        self._rows.append(vectors)

    def append_codes(self, codes: NDArray[np.uint8]) -> None:
        assert isinstance(self._rows, StoredRows)
        self._planes.append_codes(codes)
        self._rows.grow(len(codes))

    def remove(self, rows: Rows) -> None:
        self._planes.remove(rows)
        self._rows.remove(rows)

    def close(self) -> None:
        self._planes.close()
        self._rows.close()

    def holds(self, rows: Rows, vectors: NDArray[np.float32]) -> bool:
        stored = isinstance(self._rows, StoredRows)
        same = stored or self.gather(rows).tobytes() == vectors.tobytes()
        return same and self.codes(rows).tobytes() == self.encode(vectors).tobytes()

    def candidates(
        self, queries: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[Rows]
    ) -> list[Rows]:
        if not self.count or not len(queries):
            return [np.empty(0, dtype=np.intp) for _ in ks]
        wanted = [k + len(rows) for k, rows in zip(ks, excluded, strict=True)]
        found = self._near(queries, wanted, None)
        return [
            rows[~np.isin(rows, without)] if len(without) else rows
            for rows, without in zip(found, excluded, strict=True)
        ]

    def candidates_among(
        self, queries: NDArray[np.float32], k: int, admitted: RowBits
    ) -> list[Rows]:
        if k >= admitted.count or not len(queries):
            return [admitted.rows()] * len(queries)
        by_group = admitted.words.view("<u2")[: -(-self.count // GROUP)]
        return self._near(queries, [k] * len(queries), by_group)

    def rank(self, queries: NDArray[np.float32], ids: Ids) -> Rows:
        ranking = partial(rank_all, queries, self._rows, ids)
        return self._threads.submit(ranking).result()

    def nearest_others(self, rows: Rows, k: int) -> NearestOthers:
        queries = self.gather(rows)
        alike: dict[bytes, list[int]] = {}
        for number, query in enumerate(queries):
            alike.setdefault(query.tobytes(), []).append(number)
        groups = list(alike.values())
        distinct = queries[[numbers[0] for numbers in groups]]
        found = self._scan.candidates(distinct, [k + 1] * len(distinct), None, self._background)
        lists = np.empty((len(rows), k), np.int32)
        score_bounds = np.empty(len(rows), np.float32)
        resolved = np.zeros(len(rows), dtype=bool)
        unresolved: list[Unresolved] = []
        scored = self._background.map(self._scores, distinct, found)
        for numbers, among, scores in zip(groups, found, scored, strict=True):
            lowest = float(np.partition(scores, len(scores) - k - 1)[-k - 1])
            near = among[scores >= reach(lowest, self._error)]
            score_bounds[numbers] = np.nextafter(np.float32(lowest - self._error), -np.inf)
            if len(near) == k + 1 and np.isin(rows[numbers], near).all():
                for number in numbers:
                    lists[number] = near[near != rows[number]]
                resolved[numbers] = True
            else:
                unresolved.append(Unresolved(numbers, near))
        return NearestOthers(lists, score_bounds, resolved, iter(unresolved))

    def affected_rows(
        self, vectors: NDArray[np.float32], score_bounds: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        affected = np.zeros(self.count, dtype=bool)
        lowest = np.where(score_bounds > -1.0, np.minimum(score_bounds, 1.0), -np.inf) - self._error
        waiting = [vectors]
        while waiting:
            part = waiting.pop()
            floors = np.where(affected, np.inf, lowest).astype(np.float32)
            try:
                found = self._scan.reaching(part, floors, self._background)
            except Crowded:
                waiting += np.array_split(part, 2)
                continue
            scored = self._background.map(self._scores, part, found)
            for among, scores in zip(found, scored, strict=True):
                affected[among[scores >= lowest[among]]] = True
        return affected

    def _near(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        admitted: NDArray[np.uint16] | None,
    ) -> list[Rows]:
        """Return ``PlaneScan.candidates``, for queries that are not in the background."""
        return self._scan.candidates(queries, ks, admitted, self._scanners)

    @property
    def _scanners(self) -> Executor | None:
        """The threads that scan, or None where one of them would begin later than this one ends."""
        few = self.count <= PART_ROWS_MIN and self._threads is not self._background
        return None if few else self._threads

    def _scores(self, query: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
        """Return the dot products of one query (d,) with ``rows``, off by ``_error`` at most."""
        starts = range(0, max(1, len(rows)), MULTIPLIED_AT_ONCE)
        parts = (rows[start : start + MULTIPLIED_AT_ONCE] for start in starts)
        return np.concatenate([multiply(self.gather(part), query) for part in parts])
