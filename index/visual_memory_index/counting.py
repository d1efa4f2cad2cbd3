"""Misleading counts of one memory, exact at every read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import DiskFull
from visual_memory_index.lists import SCRATCH_SHARE, NeighborLists, list_bytes
from visual_memory_index.lock import ReadWriteLock
from visual_memory_index.pruning import misleading_counts
from visual_memory_index.ram import RamCopy
from visual_memory_index.store import Store

Progress: TypeAlias = Callable[[int, int], None]

PRODUCTS_AT_ONCE = 6e9  # of a search under the readers' lock: some tens of milliseconds
KEPT_MAX = 4  # different K
FEW = 1000  # entries, whose lists are found in no time


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How often each voting entry is among the K nearest of another: ``v`` with another label.

    ``ids`` and ``labels`` are objects (m,), ``v`` and ``c`` (with its own label) int64 (m,), all in
    the order of the rows at ``revision`` (Geirhos et al., 2024, section 3.3).
    """

    revision: int
    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    v: NDArray[np.int64]
    c: NDArray[np.int64]


class Counting:
    """Finds neighbour lists once, and later those alone that an edit touched.

    The lists are kept in the store, and found anew where those do not fit the entries.
    """

    def __init__(
        self,
        store: Store,
        lock: ReadWriteLock,
        writing: threading.Lock,
        check_open: Callable[[], None],
    ) -> None:
        self._store, self._lock, self._writing = store, lock, writing
        self._check_open = check_open
        self._finding = threading.Lock()
        self._lists: dict[int, NeighborLists] = {}
        self._revisions: dict[int, int] = {}
        self._counts: dict[int, Counts] = {}
        self._unsaved: set[int] = set()

    def fresh(self, k: int, ram: RamCopy) -> Counts | None:
        """The counts as of now where nothing needs to be found; the readers' lock is held."""
        counts = self._counts.get(k)
        return counts if counts is not None and counts.revision == ram.revision else None

    def knows(self, k: int, m: int) -> bool:
        """Whether most lists of ``m`` entries were found before, here or in the store."""
        if m <= FEW:
            return True
        counts = self._counts.get(k)
        if counts is not None:
            found = len(counts.ids)
        else:
            found = self._store.derived_bytes(f"lists.{k}") // list_bytes(min(k, m - 1))
        return abs(m - found) <= SCRATCH_SHARE * m

    def get(self, k: int, ram: Callable[[], RamCopy], told: Progress) -> Counts:
        """The counts for k ≥ 1 as of now. ``told`` may raise, which stops it."""
        with self._finding:
            while True:
                with self._lock.reading():
                    found = self._step(k, ram())
                    if isinstance(found, Counts):
                        break
                told(*found)
            self._save_first(k)
            return found

    def save(self) -> None:
        """Keep what was found since; the writer's lock is held."""
        with suppress(DiskFull):  # what is not kept is found again
            for k in self._unsaved:
                self._store.keep_derived(f"lists.{k}", self._lists[k].to_bytes())
        self._unsaved.clear()

    def _step(self, k: int, ram: RamCopy) -> Counts | tuple[int, int]:
        """Find some lists; the counts where all are found, else how many of how many are."""
        if (counts := self.fresh(k, ram)) is not None:
            return counts
        lists = self._adapted(k, ram)
        stale = np.flatnonzero(lists.stale)
        if len(stale):
            m, d = len(ram), ram.vectors.dimension
            rows = stale[: int(np.clip(PRODUCTS_AT_ONCE // (m * d), 16, 1024))]
            if lists.lists.shape[1]:
                lists.lists[rows], lists.floors[rows] = ram.others(rows, lists.lists.shape[1])
            lists.stale[rows] = False
            self._unsaved.add(k)
            if len(rows) < len(stale):
                return m - len(stale) + len(rows), m
        counts = self._counts[k] = counted(lists, ram)
        return counts

    def _adapted(self, k: int, ram: RamCopy) -> NeighborLists:
        if k not in self._lists:
            self._forget_oldest()
            self._lists[k] = self._stored(k) or NeighborLists.unknown(k, ram.keys_of_rows())
        elif self._revisions[k] == ram.revision:
            return self._lists[k]
        self._lists[k] = self._lists[k].adapted(
            ram.keys_of_rows(),
            lambda rows, floors: ram.vectors.reached(ram.vectors.gather(rows), floors),
        )
        self._revisions[k] = ram.revision
        return self._lists[k]

    def _stored(self, k: int) -> NeighborLists | None:
        data = self._store.derived(f"lists.{k}")
        if data is None:
            return None
        try:
            return NeighborLists.from_bytes(data)
        except ValueError:  # derived, so a damaged one is only lost time
            return None

    def _save_first(self, k: int) -> None:
        """What took long to find is kept at once, the rest when the memory closes."""
        if k not in self._unsaved or self._store.derived_bytes(f"lists.{k}"):
            return
        with self._writing, suppress(DiskFull):
            self._check_open()
            self._store.keep_derived(f"lists.{k}", self._lists[k].to_bytes())
            self._unsaved.discard(k)

    def _forget_oldest(self) -> None:
        while len(self._lists) >= KEPT_MAX:
            oldest = next(iter(self._lists))
            for kept in (self._lists, self._revisions, self._counts):
                kept.pop(oldest, None)
            self._unsaved.discard(oldest)


def counted(lists: NeighborLists, ram: RamCopy) -> Counts:
    """The counts that complete lists give."""
    ids, labels = ram.columns()
    codes: dict[str, int] = {}
    of_row = np.fromiter((codes.setdefault(label, len(codes)) for label in labels), dtype=np.int32)
    v, c = misleading_counts(lists.lists, of_row)
    return Counts(ram.revision, ids, labels, v, c)
