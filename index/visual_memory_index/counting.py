"""Misleading counts of one memory, exact at every read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import CorruptStore, DiskFull
from visual_memory_index.lists import SCRATCH_SHARE, NeighborLists, list_bytes
from visual_memory_index.lock import ReadWriteLock
from visual_memory_index.pruning import Progress, misleading_counts
from visual_memory_index.ram import RamCopy
from visual_memory_index.store import Store

PRODUCTS_AT_ONCE = 2e9  # of a scan under the readers' lock: some tens of milliseconds
KEPT_MAX = 4  # different K
FEW = 1000  # entries, whose lists are found in no time
PREFIX = "lists."


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

    Lists of ``KEPT_MAX`` different K stay in RAM, those that were mended last, and as many in the
    store: whenever some are written there, and when the memory closes, all go but those written
    last that fit the entries. Lists that are not kept, or do not fit, are found anew.
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
        self._costly: set[int] = set()  # K whose lists were found from scratch and are not saved

    def fresh(self, k: int, ram: RamCopy) -> Counts | None:
        """The counts as of now where nothing needs to be found; the readers' lock is held."""
        counts = self._counts.get(k)
        return counts if counts is not None and counts.revision == ram.revision else None

    def knows(self, k: int, m: int) -> bool:
        """Whether most lists of ``m`` entries were found before, here or in the store."""
        if m <= FEW:
            return True
        if (counts := self._counts.get(k)) is not None:
            return fits(len(counts.ids), m)
        sizes = self._store.derived_sizes(PREFIX)
        return fits(lists_in(sizes.get(f"{PREFIX}{k}", 0), k, m), m)

    def get(self, k: int, ram: Callable[[], RamCopy], told: Progress) -> Counts:
        """The counts for k ≥ 1 as of now. ``told`` may raise, which stops it.

        However much is to be found, the readers' lock is let go after each part of it.
        """
        with self._finding:
            while True:
                with self._lock.reading():
                    current = ram()
                    if (counts := self.fresh(k, current)) is not None:
                        return counts
                    if self._revisions.get(k) != current.revision:
                        self._replace(k, self._adapted(k, current), current.revision)
                    lists = self._lists[k]
                    progress = mend(lists, current)
                    if progress is None:
                        revision, (ids, labels) = current.revision, current.columns()
                        break
                told(*progress)
            return self._count(k, lists, revision, ids, labels)

    def of(self, k: int, snapshot: RamCopy, told: Progress) -> Counts:
        """The counts in a snapshot of the memory, which come whatever is written meanwhile."""
        with self._finding:
            with self._lock.reading():
                self._check_open()
                if (counts := self.fresh(k, snapshot)) is not None:
                    return counts
                lists = self._adapted(k, snapshot)
            try:
                while (progress := mend(lists, snapshot)) is not None:
                    told(*progress)
            finally:
                with self._lock.reading():
                    self._replace(k, lists, snapshot.revision)
            return self._count(k, lists, snapshot.revision, *snapshot.columns())

    def save(self, m: int) -> None:
        """Keep what was found since beside ``m`` entries; the writer's lock is held."""
        self._keep([k for k in self._lists if k in self._unsaved], m)

    def _adapted(self, k: int, ram: RamCopy) -> NeighborLists:
        """A copy of the lists that are known, for the rows of ``ram``."""
        keys = ram.keys_of_rows()
        known = self._lists.get(k) or self._stored(k)
        lists = known.adapted(keys) if known else NeighborLists.unknown(k, keys)
        if lists.stale.any():
            self._unsaved.add(k)
        if len(keys) > FEW and lists.stale.all():
            self._costly.add(k)
        return lists

    def _stored(self, k: int) -> NeighborLists | None:
        data = self._store.derived(f"{PREFIX}{k}")
        if data is None:
            return None
        try:
            return NeighborLists.from_bytes(data)
        except ValueError:  # derived, so a damaged one is only lost time
            return None

    def _replace(self, k: int, lists: NeighborLists, revision: int) -> None:
        self._lists.pop(k, None)
        self._lists[k], self._revisions[k] = lists, revision
        while len(self._lists) > KEPT_MAX:
            oldest = next(iter(self._lists))
            for kept in (self._lists, self._revisions, self._counts):
                kept.pop(oldest, None)
            self._unsaved.discard(oldest)
            self._costly.discard(oldest)

    def _count(
        self,
        k: int,
        lists: NeighborLists,
        revision: int,
        ids: NDArray[np.object_],
        labels: NDArray[np.object_],
    ) -> Counts:
        """Count in lists that are all known. What took long to find is kept at once."""
        v, c = misleading_counts(lists.lists, coded(labels))
        counts = self._counts[k] = Counts(revision, ids, labels, v, c)
        if k in self._costly:
            with self._writing:
                self._check_open()
                self._keep([k], len(ids))
        return counts

    def _keep(self, ks: list[int], m: int) -> None:
        """Write lists to the store, and drop what need not be there beside ``m`` entries."""
        with suppress(DiskFull, CorruptStore):  # what is not kept is found again
            for k in ks:
                self._store.keep_derived(f"{PREFIX}{k}", self._lists[k].to_bytes())
                self._unsaved.discard(k)
                self._costly.discard(k)
            sizes = self._store.derived_sizes(PREFIX)
            fit = [
                name
                for name, size in sizes.items()
                if fits(lists_in(size, int(name.removeprefix(PREFIX)), m), m)
            ]
            self._store.drop_derived(sizes.keys() - set(fit[:KEPT_MAX]))


def mend(lists: NeighborLists, ram: RamCopy) -> tuple[int, int] | None:
    """Do a part of what the ``lists`` of these rows lack: how many of how many are known then.

    None where they were all known, or are now.
    """
    m, width = lists.lists.shape
    left = int(np.clip(PRODUCTS_AT_ONCE // (max(1, m) * ram.vectors.dimension), 16, 1024))
    new = np.flatnonzero(lists.new)[:left]
    if len(new):
        lists.stale[ram.vectors.reached(ram.vectors.gather(new), lists.floors)] = True
        lists.new[new] = False
        left -= len(new)
        if lists.new.any():
            return 0, m
    rows = np.flatnonzero(lists.stale)[:left]
    if len(rows) and width:
        found, floors, settled = ram.others(rows, width)
        rows = rows[settled]
        lists.lists[rows], lists.floors[rows] = found[settled], floors[settled]
    lists.stale[rows] = False
    stale = int(np.count_nonzero(lists.stale))
    return (m - stale, m) if stale else None


def coded(labels: NDArray[np.object_]) -> NDArray[np.int32]:
    """Labels as numbers, int32 (m,)."""
    codes: dict[str, int] = {}
    return np.fromiter((codes.setdefault(label, len(codes)) for label in labels), dtype=np.int32)


def lists_in(size: int, k: int, m: int) -> int:
    """About how many lists were kept in so many bytes, if they are of ``m`` entries."""
    return size // list_bytes(min(k, m - 1))


def fits(found: int, m: int) -> bool:
    """Whether so many lists hold most of those of ``m`` entries."""
    return abs(m - found) <= SCRATCH_SHARE * m
