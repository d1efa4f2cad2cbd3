"""A vector index that scans all rows, and proves from their scores which rows it can leave out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.scan.blocks import Blocks
from visual_memory_index.scan.bound import product_bound, score_bounds
from visual_memory_index.scan.ranking import rank_all
from visual_memory_index.scan.vectors import NearestOthers, Rows, Unresolved

T = TypeVar("T")

SLACK = 16  # rows scanned beyond k, so that the bound is met at once
SCORED_AT_ONCE = 64


class Scan(Protocol):
    """A quick scan: scores of all rows that approximate the dot products with unit queries.

    A score differs from the dot product by the row's error at most. ``name`` identifies the scores,
    with all that decides their errors. If more than ``best_max`` best rows are wanted, scoring
    every row is quicker than ``best``. ``error_max`` is the largest error that a row can have.
    """

    name: str
    best_max: int
    error_max: float

    def errors(self, rows: Rows) -> NDArray[np.float64]:
        """Return the bound of the error of each row's scores, in the shape of ``rows``.

        See the module ``bound``.
        """

    def best(
        self, queries: NDArray[np.float32], most: int, *, background: bool
    ) -> tuple[NDArray[np.float32], Rows]:
        """Return the ``most`` best scores (n, most) of queries (n, d), descending, and their rows.

        ``most`` is at most the number of rows.
        """

    def run(self, multiply: Callable[[], T], *, background: bool) -> T:
        """Return the result of ``multiply``, in a thread whose buffers are overwritten at need."""

    def scores(self, queries: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
        """Return the scores (n, len(rows)) of ascending ``rows`` for queries (n, d)."""

    def best_of_rows(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return for each row its best score with any of ``queries`` (n, d), n ≥ 1: (m,)."""

    def reserve(self, count: int) -> None:
        """Make room for the scan's own data for ``count`` rows in all."""

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Store the scan's own data, such as codes, for ``vectors`` (b, d), the next rows."""

    def remove(self, rows: Rows) -> None:
        """Remove the scan's own data for ascending ``rows``, before these go; see ``moves``."""


class ScannedIndex:
    """A ``VectorIndex`` in RAM: ``rows`` hold the vectors, a ``scan`` scores them.

    An index in the ``background`` lets the searches of other indexes go first. Candidates are the
    rows that reach their score bounds. If the last of the best scores that a scan returned is not
    below the bounds of all rows, all rows are scored.
    """

    def __init__(self, rows: Blocks, scan: Scan, *, background: bool = False) -> None:
        self._rows, self._scan, self._background = rows, scan, background
        self.scan, self.scanned_max = scan.name, scan.best_max - SLACK
        self.dimension, self.blocks, self.gather = rows.dimension, rows.blocks, rows.gather

    @property
    def count(self) -> int:
        return self._rows.count

    def reserve(self, count: int) -> None:
        self._rows.reserve(count)
        self._scan.reserve(count)

    def append(self, vectors: NDArray[np.float32]) -> None:
        self._scan.append(vectors)
        self._rows.append(vectors)

    def remove(self, rows: Rows) -> None:
        self._scan.remove(rows)
        self._rows.remove(rows)

    def candidates(
        self, queries: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[Rows]
    ) -> list[Rows]:
        wanted = np.array([k + len(rows) for k, rows in zip(ks, excluded, strict=True)], dtype=int)
        scanned = int(wanted.max(initial=0)) + SLACK
        if scanned > min(self._scan.best_max, self.count):
            scanned = 0
        scores, rows = self._scan.best(queries, scanned, background=self._background)
        found: list[Rows] = []
        for number, (k, without) in enumerate(zip(ks, excluded, strict=True)):
            admitted = ~np.isin(rows[number], without)
            kept, kept_scores = rows[number][admitted], scores[number][admitted]
            if len(kept) >= k:
                errors = self._scan.errors(kept)
                product = product_bound(kept_scores[:k], errors[:k])
                if scores[number, -1] < score_bounds(product, self._scan.error_max):
                    found.append(kept[kept_scores >= score_bounds(product, errors)])
                    continue
            others = np.ones(self.count, dtype=bool)
            others[without] = False
            found += self.candidates_among(queries[number : number + 1], k, np.flatnonzero(others))
        return found

    def candidates_among(self, queries: NDArray[np.float32], k: int, rows: Rows) -> list[Rows]:
        if k >= len(rows):
            return [rows] * len(queries)
        error_max, found = np.array([self._scan.error_max]), list[Rows]()
        for start in range(0, len(queries), SCORED_AT_ONCE):
            part = queries[start : start + SCORED_AT_ONCE]
            scored = self._scan.run(
                partial(self._scan.scores, part, rows), background=self._background
            )
            for scores in scored:
                kth = np.partition(scores, len(scores) - k)[-k:][:1]
                lowest = product_bound(kth, error_max)
                near = np.flatnonzero(scores >= score_bounds(lowest, self._scan.error_max))
                kept, errors = scores[near], self._scan.errors(rows[near])
                product = product_bound(kept[kept >= kth], errors[kept >= kth])
                found.append(rows[near[kept >= score_bounds(product, errors)]])
        return found

    def rank(self, queries: NDArray[np.float32], ids: NDArray[np.object_]) -> Rows:
        ranking = partial(rank_all, queries, self.blocks(), ids)
        return self._scan.run(ranking, background=self._background)

    def nearest_others(self, rows: Rows, k: int) -> NearestOthers:
        queries = self.gather(rows)
        most = min(k + 1 + SLACK, self.count)
        scores, found = self._scan.best(queries, most, background=True)
        own = found == rows[:, np.newaxis]
        others = np.argsort(own, axis=1, kind="stable")[:, :-1]
        scores = np.take_along_axis(scores, others, axis=1)
        found = np.take_along_axis(found, others, axis=1)
        errors = self._scan.errors(found)
        products = product_bound(scores[:, :k], errors[:, :k])
        among = scores >= score_bounds(products[:, np.newaxis], errors)
        is_deep = scores[:, -1] < score_bounds(products, self._scan.error_max)
        deep = own.any(axis=1) & (is_deep | (scores.shape[1] == self.count - 1))
        close = deep & (among.sum(axis=1) > k)
        lowest = score_bounds(products, self._scan.errors(rows)).astype(np.float32)

        def unresolved() -> Iterator[Unresolved]:
            for number in np.flatnonzero(close):
                yield Unresolved([int(number)], found[number][among[number]])
            yield from self._tied(queries, np.flatnonzero(~deep), k)

        return NearestOthers(
            found[:, :k].astype(np.int32),
            np.nextafter(lowest, np.float32(-np.inf)),
            deep & ~close,
            unresolved(),
        )

    def _tied(self, queries: NDArray[np.float32], numbers: Rows, k: int) -> Iterator[Unresolved]:
        """Yield candidates for queries with more rows tied at the k-th score than a scan returned.

        ``numbers`` are the positions of these queries in ``queries`` (n, d). Queries with equal
        vectors are searched once.
        """
        groups: dict[bytes, list[int]] = {}
        for number in numbers.tolist():
            groups.setdefault(queries[number].tobytes(), []).append(number)
        alike = list(groups.values())
        for start in range(0, len(alike), SCORED_AT_ONCE):
            part = alike[start : start + SCORED_AT_ONCE]
            distinct = queries[[group[0] for group in part]]
            found = self.candidates_among(distinct, k + 1, np.arange(self.count))
            yield from map(Unresolved, part, found)

    def affected_rows(
        self, vectors: NDArray[np.float32], score_bounds: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        affected: NDArray[np.bool_] = self._scan.best_of_rows(vectors) >= score_bounds
        return affected
