"""What a memory keeps in RAM for its readers: derived from the store, never written anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.distances import exact_distances
from visual_memory_index.neighbors import Neighbors
from visual_memory_index.vectors import Rows, VectorIndex

FIRST_CAPACITY = 1024
EXACT_AT_ONCE = 4096


class RamCopy:
    """Key, id, label and vector of every entry, by row. Row numbers change when entries go.

    ``stage`` may run beside readers; ``publish``, ``remove`` and ``relabel`` need to be alone.
    """

    def __init__(self, dimension: int) -> None:
        self.vectors = VectorIndex(dimension)
        self.revision = 0
        self.label_counts: Counter[str] = Counter()
        self._keys = np.empty(FIRST_CAPACITY, dtype=np.int64)
        self._ids = np.empty(FIRST_CAPACITY, dtype=object)
        self._labels = np.empty(FIRST_CAPACITY, dtype=object)
        self._row_of: dict[str, int] = {}
        self._interned: dict[str, str] = {}

    def __len__(self) -> int:
        return self.vectors.count

    def __contains__(self, id: object) -> bool:
        return id in self._row_of

    def stage(
        self,
        keys: Sequence[int],
        ids: Sequence[str],
        labels: Sequence[str],
        vectors: NDArray[np.float32],
    ) -> None:
        """Write new rows, ``vectors`` (b, d), where nobody sees them: all that can fail."""
        start, end = len(self), len(self) + len(ids)
        while end > len(self._keys):
            self._keys, self._ids, self._labels = (
                np.concatenate([column, np.empty_like(column)])
                for column in (self._keys, self._ids, self._labels)
            )
        self.vectors.append(vectors, start)
        self._keys[start:end] = keys
        self._ids[start:end] = ids
        self._labels[start:end] = [self._interned.setdefault(label, label) for label in labels]

    def publish(self, staged: int, *, replaced: Iterable[str] = ()) -> None:
        """Let the staged rows be found, in the place of those of the ids ``replaced``."""
        start, end = len(self), len(self) + staged
        old_rows = sorted((self._row_of.pop(id) for id in replaced), reverse=True)
        self._row_of.update(zip(self._ids[start:end].tolist(), range(start, end), strict=True))
        self.label_counts.update(self._labels[start:end].tolist())
        self.vectors.publish(end)
        for row in old_rows:
            self._remove(row)

    def remove(self, ids: Iterable[str]) -> None:
        """Forget these entries: the last row moves into each hole."""
        for id in ids:
            self._remove(self._row_of.pop(id))

    def relabel(self, id: str, label: str) -> None:
        """Give one entry another label."""
        row = self._row_of[id]
        self._count_down(self._labels[row])
        self._labels[row] = self._interned.setdefault(label, label)
        self.label_counts[label] += 1

    def keys(self, ids: Iterable[str]) -> list[int]:
        """The store's keys of these entries."""
        return [int(self._keys[self._row_of[id]]) for id in ids]

    def rows_of_ids(self, ids: Iterable[str]) -> Rows:
        """The rows of those ids that are here, ascending."""
        rows = {self._row_of[id] for id in ids if id in self._row_of}
        return np.array(sorted(rows), dtype=np.intp)

    def rows_of_keys(self, keys: NDArray[np.int64]) -> Rows:
        """The rows of the store's ``keys``, ascending."""
        return np.flatnonzero(np.isin(self._keys[: len(self)], keys))

    def neighbors(
        self, queries: NDArray[np.float32], k: int, candidates: Sequence[Rows]
    ) -> Neighbors:
        """The k nearest of each query's ``candidates`` by exact distance, ties by id."""
        width = min([k, *(len(rows) for rows in candidates)])
        rows = np.empty((len(queries), width), dtype=np.intp)
        distances = np.empty((len(queries), width))
        for number, (query, among) in enumerate(zip(queries, candidates, strict=True)):
            exact = np.concatenate(
                [
                    exact_distances(
                        query, self.vectors.gather(among[start : start + EXACT_AT_ONCE])
                    )
                    for start in range(0, max(1, len(among)), EXACT_AT_ONCE)
                ]
            )
            nearest = self._order(among, exact)[:width]
            rows[number], distances[number] = among[nearest], exact[nearest]
        return Neighbors(ids=self._ids[rows], labels=self._labels[rows], distances=distances)

    def _order(self, rows: Rows, distances: NDArray[np.float64]) -> Rows:
        """The positions of ``rows`` by distance, equal distances by id in byte order."""
        order = np.argsort(distances)
        if (np.diff(distances[order]) > 0).all():
            return order
        ids = self._ids[rows]  # code points sort as their UTF-8 bytes do
        positions = sorted(range(len(rows)), key=lambda at: (distances[at], ids[at]))
        return np.array(positions, dtype=np.intp)

    def _remove(self, row: int) -> None:
        last = len(self) - 1
        self._count_down(self._labels[row])
        self.vectors.swap_remove(row)
        if row != last:
            for column in (self._keys, self._ids, self._labels):
                column[row] = column[last]
            self._row_of[self._ids[row]] = row
        self._keys[last], self._ids[last], self._labels[last] = 0, None, None

    def _count_down(self, label: str) -> None:
        self.label_counts[label] -= 1
        if not self.label_counts[label]:
            del self.label_counts[label]
            del self._interned[label]
