"""The K nearest others of every entry, kept up to date under edits, for misleading counts."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.rows import Rows

SCRATCH_SHARE = 0.25  # if more of the entries are new, all lists are found again
RENUMBERED_AT_ONCE = 1 << 20
COMPARED_MAX = (
    8  # rows: comparing each with 90 million numbers took a quarter of a look-up, by hand
)
UNFIT = -1  # the revision of lists whose update was interrupted
COLUMNS = ("keys", "lists", "score_bounds", "stale", "new")

Keys = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class NeighborLists:
    """The k other rows nearest to every row, updated when rows are added and removed.

    ``keys`` int64 (m,) are the rows' keys; a key stands for one vector forever, so comparing keys
    tells every change. A vector whose product with a row is below its number in ``score_bounds``,
    float32 (m,), does not belong in the row's list. The list of a ``stale`` row has to be computed.
    A ``new`` row has first to be compared with the bounds of the other rows. ``revision`` is that
    of the memory for which the lists were last updated; it is not serialised.
    """

    k: int
    keys: Keys
    lists: NDArray[np.int32]
    score_bounds: NDArray[np.float32]
    stale: NDArray[np.bool_]
    new: NDArray[np.bool_]
    revision: int = UNFIT

    @classmethod
    def unknown(cls, k: int, keys: Keys) -> NeighborLists:
        """Return lists for the entries ``keys``, all of which are still to be computed."""
        m = len(keys)
        return cls(
            k,
            keys.copy(),
            np.zeros((m, width(k, m)), dtype=np.int32),
            np.zeros(m, dtype=np.float32),
            np.ones(m, dtype=bool),
            np.zeros(m, dtype=bool),
        )

    @property
    def nbytes(self) -> int:
        """Return the size in bytes, in RAM and in ``to_bytes``."""
        return sum(column.nbytes for column in self._columns())

    @property
    def left(self) -> tuple[int, int]:
        """Return the numbers of new and of stale rows, which are to be processed in this order."""
        return int(np.count_nonzero(self.new)), int(np.count_nonzero(self.stale))

    def known(self) -> Keys:
        """Return the keys of the rows whose lists are not stale."""
        return self.keys[~self.stale]

    def follow(self, keys: Keys) -> None:
        """Update the lists to the entries ``keys``, by row: removed rows go, added rows come.

        An added row is ``stale`` and ``new``; a list that has a removed row becomes stale. All
        lists become stale if more than a quarter of the rows are new, or if the length of a list
        changes. If no row left its place, no list is read.
        """
        m, before = len(keys), len(self.keys)
        both = min(m, before)
        changed = np.flatnonzero(self.keys[:both] != keys[:both])
        gone = np.concatenate([changed, np.arange(both, before)])
        came = np.concatenate([changed, np.arange(both, m)])
        _, start, end = np.intersect1d(
            self.keys[gone], keys[came], assume_unique=True, return_indices=True
        )
        too_many = len(came) - len(end) > SCRATCH_SHARE * m
        if too_many or self.lists.shape[1] != width(self.k, m):
            fresh = NeighborLists.unknown(self.k, keys)
            self.keys, self.lists = fresh.keys, fresh.lists
            self.score_bounds, self.stale, self.new = fresh.score_bounds, fresh.stale, fresh.new
            return
        if len(gone):
            self._renumber(gone, gone[start], came[end])
        moved = [column[gone[start]] for column in self._columns()]
        for column in self._columns():  # in place: a list can have hundreds of megabytes
            column.resize((m, *column.shape[1:]), refcheck=False)
        self.keys[came] = keys[came]
        self.stale[came] = self.new[came] = True
        for column, rows in zip(self._columns(), moved, strict=True):
            column[came[end]] = rows

    def to_bytes(self) -> bytes:
        """Serialise all fields but ``revision``, in NumPy's npz format."""
        file = io.BytesIO()
        columns: dict[str, Any] = dict(zip(COLUMNS, self._columns(), strict=True))
        np.savez(file, k=np.int64(self.k), **columns)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> NeighborLists:
        """Parse the bytes that ``to_bytes`` returned. Raises ValueError if they are damaged."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                owned = (np.require(arrays[column], requirements=["O"]) for column in COLUMNS)
                return cls(int(arrays["k"]), *owned)
        except (OSError, KeyError, EOFError, BadZipFile) as problem:
            raise ValueError(str(problem)) from None

    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return self.keys, self.lists, self.score_bounds, self.stale, self.new

    def _renumber(self, gone: Rows, start: Rows, end: Rows) -> None:
        """Renumber the rows in all lists after a change of rows.

        Rows that moved from ``start`` get the numbers ``end``. All other rows in ``gone`` were
        removed: lists that have one become stale.
        """
        to = np.arange(len(self.keys), dtype=np.int32)
        to[gone] = -1
        to[start] = end
        is_gone = to != np.arange(len(to))
        few = gone.astype(np.int32) if len(gone) <= COMPARED_MAX else None
        step = max(1, RENUMBERED_AT_ONCE // max(1, self.lists.shape[1]))
        for at in range(0, len(self.lists), step):
            part = self.lists[at : at + step]
            held = is_gone[part] if few is None else np.isin(part, few, kind="sort")
            rows = at + np.flatnonzero(held.any(axis=1))
            self.lists[rows] = to[self.lists[rows]]
            self.stale[rows] |= (self.lists[rows] < 0).any(axis=1)


def width(k: int, m: int) -> int:
    """Return the length of each list if there are ``m`` entries: k, or m − 1 if that is less."""
    return max(0, min(k, m - 1))
