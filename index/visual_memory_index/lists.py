"""The K nearest others of every entry, kept under edits: misleading counts are counted in them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

SCRATCH_SHARE = 0.25  # where more of the entries are new, all is found anew


def list_bytes(width: int) -> int:
    """How many bytes ``to_bytes`` gives for each row: key, list, floor, and what is to be done."""
    return 8 + 4 * width + 4 + 1 + 1


@dataclass(frozen=True, slots=True, eq=False)
class NeighborLists:
    """``lists`` int32 (m, w): for each row the rows of its w = min(k, m − 1) nearest others.

    ``keys`` int64 (m,) says whose rows these are; a key stands for one vector forever, so whatever
    happened since can be told from the keys alone. A vector that scores below ``floors``,
    float32 (m,), does not belong into the row's list. A ``stale`` row's list is to be found anew.
    A ``new`` row is to be held against the floors of the others, before any list is found.
    """

    k: int
    keys: NDArray[np.int64]
    lists: NDArray[np.int32]
    floors: NDArray[np.float32]
    stale: NDArray[np.bool_]
    new: NDArray[np.bool_]

    @classmethod
    def unknown(cls, k: int, keys: NDArray[np.int64]) -> NeighborLists:
        """Every list is to be found."""
        m = len(keys)
        return cls(
            k,
            keys.copy(),
            np.zeros((m, max(0, min(k, m - 1))), dtype=np.int32),
            np.zeros(m, dtype=np.float32),
            np.ones(m, dtype=bool),
            np.zeros(m, dtype=bool),
        )

    def adapted(self, keys: NDArray[np.int64]) -> NeighborLists:
        """A copy for other rows: lists that held what left are stale; what came is stale and new.

        Where most came, or lists have another length, all are unknown.
        """
        fresh = NeighborLists.unknown(self.k, keys)
        if fresh.lists.shape[1] != self.lists.shape[1] or not len(self.keys):
            return fresh
        order = np.argsort(self.keys)
        at = np.searchsorted(self.keys, keys, sorter=order).clip(max=len(order) - 1)
        before = order[at]
        came = self.keys[before] != keys
        if np.count_nonzero(came) > SCRATCH_SHARE * len(keys):
            return fresh
        now = np.full(len(self.keys), -1, dtype=np.int32)
        now[before[~came]] = np.flatnonzero(~came)
        lists = now[self.lists[before]]
        stale = came | self.stale[before] | (lists < 0).any(axis=1)
        new = came | self.new[before]
        return NeighborLists(self.k, fresh.keys, lists, self.floors[before], stale, new)

    def to_bytes(self) -> bytes:
        """Everything, to be kept."""
        file = io.BytesIO()
        np.savez(
            file,
            k=np.int64(self.k),
            keys=self.keys,
            lists=self.lists,
            floors=self.floors,
            stale=self.stale,
            new=self.new,
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> NeighborLists:
        """What ``to_bytes`` gave. Raises ValueError."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return cls(
                    int(arrays["k"]),
                    arrays["keys"],
                    arrays["lists"],
                    arrays["floors"],
                    arrays["stale"],
                    arrays["new"],
                )
        except (OSError, KeyError, EOFError, BadZipFile) as problem:
            raise ValueError(str(problem)) from None
