"""A vector index that scans all rows, and proves from their scores which it can leave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.scan.faiss_scan import FaissScan
from visual_memory_index.scan.vectors import Doubt, Others, Rows

SLACK = 16  # rows scanned beyond k, so that the bound is met at once
SCORED_AT_ONCE = 64


class ScannedIndex(FaissScan):
    """A ``VectorIndex`` in RAM; a ``patient`` one lets the searches of others go first.

    A scan is deep enough where its last score is below the floor of the k-th; where it is not, all
    rows are scored. Candidates are the rows that score the floor or more.
    """

    scanned_max = FaissScan.best_max - SLACK

    def __init__(self, dimension: int, *, patient: bool = False) -> None:
        super().__init__(dimension)
        self._patient = patient

    def candidates(
        self, queries: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[Rows]
    ) -> list[Rows]:
        wanted = np.array([k + len(rows) for k, rows in zip(ks, excluded, strict=True)], dtype=int)
        scanned = int(wanted.max(initial=0)) + SLACK
        if scanned > min(self.best_max, self.count):
            scanned = 0
        scores, rows = self.best(queries, scanned, patient=self._patient)
        found: list[Rows] = []
        for number, (k, without) in enumerate(zip(ks, excluded, strict=True)):
            admitted = ~np.isin(rows[number], without)
            kept, kept_scores = rows[number][admitted], scores[number][admitted]
            if len(kept) >= k and scores[number, -1] < self.bound.floor(kept_scores[k - 1]):
                found.append(kept[kept_scores >= self.bound.floor(kept_scores[k - 1])])
            else:
                others = np.ones(self.count, dtype=bool)
                others[without] = False
                query = queries[number : number + 1]
                found += self.candidates_among(query, k, np.flatnonzero(others))
        return found

    def others(self, rows: Rows, k: int) -> Others:
        queries = self.gather(rows)
        scores, found = self.best(queries, min(k + 1 + SLACK, self.count), patient=True)
        own = found == rows[:, np.newaxis]
        others = np.argsort(own, axis=1, kind="stable")[:, :-1]
        scores = np.take_along_axis(scores, others, axis=1)
        found = np.take_along_axis(found, others, axis=1)
        exact_floors = self.bound.floors(scores[:, k - 1])
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
        reached: NDArray[np.bool_] = self.best_of_rows(vectors) >= floors
        return reached

    def candidates_among(self, queries: NDArray[np.float32], k: int, rows: Rows) -> list[Rows]:
        if k >= len(rows):
            return [rows] * len(queries)
        found: list[Rows] = []
        for start in range(0, len(queries), SCORED_AT_ONCE):
            for scores in self.scores(queries[start : start + SCORED_AT_ONCE], rows):
                floor = self.bound.floor(np.partition(scores, len(scores) - k)[len(scores) - k])
                found.append(rows[scores >= floor])
        return found
