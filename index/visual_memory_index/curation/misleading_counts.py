"""Misleading counts of one memory, exact at every read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.curation.neighbor_lists import Keys, NeighborLists, width
from visual_memory_index.curation.pruning import misleading_counts
from visual_memory_index.errors import CorruptStore, NotWritten
from visual_memory_index.ram.lock import ReadWriteLock
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.operation import UNLEARN
from visual_memory_index.records.progress import Progress
from visual_memory_index.store.store import Store

PRODUCTS_AT_ONCE = 2e9  # of a scan under the readers' lock: some tens of milliseconds
SELECTION_PRODUCTS = 1e4  # that take as long as keeping one more neighbour in a scan, by hand
PARTS_MAX = 16  # done at once, where writes undo what one part does
MOMENT = 20  # parts: about a second
KEPT_MAX = 4  # different K
KEPT_BYTES_MAX = 1 << 30  # of them together, but the last is kept in any case
WAIT_SECONDS = 0.1
UNFIT = -1  # the revision of lists that were left halfway
LISTS, KNOWN = "lists.", "known."  # and K: lists, and the keys of the entries whose are known

T = TypeVar("T")


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


@dataclass(slots=True, eq=False)
class Dated:
    """Lists, and the revision of the memory that they were mended for last."""

    lists: NeighborLists
    revision: int = UNFIT


class Counting:
    """Finds neighbour lists once, and later those alone that an edit touched.

    Lists of few different K stay in RAM, those that were mended last, and as many in the store:
    what took long is written there at once, the others by ``save``. Beside each are the keys of
    the entries whose lists are known. Who mends lists takes them out of what is kept, and is the
    only one for this K. ``ram`` gives the copy in RAM as it is now, or raises MemoryClosed.
    """

    def __init__(
        self,
        store: Store,
        lock: ReadWriteLock,
        writing: threading.Lock,
        ram: Callable[[], RamCopy],
    ) -> None:
        self._store, self._lock, self._writing, self._ram = store, lock, writing, ram
        self._guard = threading.Lock()  # of all that follows
        self._turns: dict[int, threading.Lock] = {}
        self._lists: dict[int, Dated] = {}
        self._known: dict[int, Keys] = {}
        self._counts: dict[int, Counts] = {}
        self._oldest = 0  # what was found at an earlier revision is not kept

    def knows(self, k: int) -> bool:
        """Whether all is found in about a second; the readers' lock is held."""
        ram = self._ram()
        if self._fresh(k, ram) is not None:
            return True
        keys = ram.keys_of_rows()
        known = self._known.get(k)
        left = to_find(k, self._stored_known(k) if known is None else known, keys)
        return (
            left * list_products(len(keys), ram.vectors.dimension, k) <= MOMENT * PRODUCTS_AT_ONCE
        )

    def get(self, k: int, told: Progress, beside: Callable[[RamCopy], T]) -> tuple[Counts, T]:
        """The counts for k ≥ 1 at one moment from now on, and what is seen ``beside`` them then.

        However much is to be found, the readers' lock is let go after each part of it. ``told`` may
        raise, which stops it.
        """

        @contextmanager
        def now() -> Iterator[RamCopy]:
            with self._lock.reading():
                yield self._ram()

        with now() as ram:
            if (counts := self._fresh(k, ram)) is not None:
                return counts, beside(ram)
        return self._find(k, now, told, beside)

    def of(self, k: int, snapshot: RamCopy, told: Progress) -> Counts:
        """The counts in a snapshot of the memory, which come whatever is written meanwhile."""
        with self._lock.reading():
            self._ram()
        return self._find(k, lambda: nullcontext(snapshot), told, lambda ram: None)[0]

    def forget(self) -> None:
        """Drop all that was found, by whoever is at it too; the readers' lock is held for writing.

        What the store has is dropped with the entries that it was found for.
        """
        with self._guard:
            self._oldest = self._ram().revision
            for kept in (self._lists, self._known, self._counts):
                kept.clear()

    def save(self) -> None:
        """Keep what was found in the store; nothing is found after it."""
        with self._guard:
            kept = dict(self._lists)
            self._lists.clear()
        for k, lists in kept.items():
            self._keep(k, lists)
        with self._writing, suppress(NotWritten, CorruptStore):
            self._tidy()

    def _fresh(self, k: int, ram: RamCopy) -> Counts | None:
        counts = self._counts.get(k)
        return counts if counts is not None and counts.revision == ram.revision else None

    def _find(
        self,
        k: int,
        hold: Callable[[], AbstractContextManager[RamCopy]],
        told: Progress,
        beside: Callable[[RamCopy], T],
    ) -> tuple[Counts, T]:
        """Like ``get``, in what ``hold`` gives each time."""
        with self._taken(k, told) as taken:
            lists = taken.lists
            with hold() as ram:
                keys = ram.keys_of_rows().copy()
            taken.revision = UNFIT
            lists.follow(keys)  # may take long here, and then finds little to do under the lock
            parts, part, left = 0, 1, (len(keys) + 1, 0)
            while True:
                with hold() as ram:
                    taken.revision = UNFIT
                    lists.follow(ram.keys_of_rows())
                    progress = mend(lists, ram, part)
                    taken.revision = ram.revision
                    if progress is None:
                        seen, (ids, labels) = beside(ram), ram.columns()
                        break
                told(*progress)
                parts += 1
                if lists.left >= left:
                    part = min(2 * part, PARTS_MAX)
                left = lists.left
            v, c = misleading_counts(lists.lists, coded(labels))
            counts = Counts(taken.revision, ids, labels, v, c)
            with self._guard:
                if counts.revision >= self._oldest:
                    self._counts[k] = counts
            if parts >= MOMENT:
                self._keep(k, taken)
            return counts, seen

    @contextmanager
    def _taken(self, k: int, told: Progress) -> Iterator[Dated]:
        """What is known for K, which nobody else has until it is put back. ``told`` may raise."""
        with self._guard:
            turn = self._turns.setdefault(k, threading.Lock())
        while not turn.acquire(timeout=WAIT_SECONDS):
            told(0, 0)
        try:
            with self._guard:
                taken = self._lists.pop(k, None)
            if taken is None:
                with self._lock.reading():
                    self._ram()
                    taken = Dated(self._stored(k))
            try:
                yield taken
            finally:
                self._put(k, taken)
        finally:
            turn.release()

    def _put(self, k: int, taken: Dated) -> None:
        known = taken.lists.known()
        with self._guard:
            if taken.revision < self._oldest:
                return
            self._lists[k], self._known[k] = taken, known
            sizes = {each: kept.lists.nbytes for each, kept in reversed(self._lists.items())}
            for old in sizes.keys() - within_bounds(sizes):
                for kept in (self._lists, self._known, self._counts):
                    kept.pop(old, None)

    def _stored(self, k: int) -> NeighborLists:
        data = self._store.derived(f"{LISTS}{k}")
        with suppress(ValueError):  # derived, so a damaged one is only lost time
            if data is not None:
                return NeighborLists.from_bytes(data)
        return NeighborLists.unknown(k, np.empty(0, dtype=np.int64))

    def _stored_known(self, k: int) -> Keys:
        return np.frombuffer(self._store.derived(f"{KNOWN}{k}") or b"", dtype=np.int64)

    def _keep(self, k: int, found: Dated) -> None:
        """Write lists to the store, unless they are there, or too large for it."""
        if found.lists.nbytes > self._store.derived_bytes_max:
            return
        known = found.lists.known()
        with suppress(NotWritten, CorruptStore):  # what is not kept is found again
            with self._lock.reading():
                self._ram()
                stored = self._stored_known(k)
            if np.array_equal(known, stored):
                return
            data = found.lists.to_bytes()
            with self._writing:
                self._ram()
                erasing = any(each.kind == UNLEARN for each in self._store.unfinished())
                if found.revision >= self._oldest and not erasing:
                    self._store.keep_derived(f"{LISTS}{k}", data)
                    self._store.keep_derived(f"{KNOWN}{k}", known.tobytes())
                    self._tidy()

    def _tidy(self) -> None:
        """Drop from the store what spares nothing, or is too much; the writer's lock is held."""
        keys = self._ram().keys_of_rows()
        sizes = {
            int(name.removeprefix(LISTS)): size
            for name, size in self._store.derived_sizes(LISTS).items()
        }
        known = {k: self._stored_known(k) for k in sizes}
        of_use = {
            k: size for k, size in sizes.items() if 2 * there(known[k], keys) >= len(known[k])
        }
        stay = within_bounds(of_use)
        if dropped := sizes.keys() - stay:
            self._store.drop_derived(f"{kind}{k}" for k in dropped for kind in (LISTS, KNOWN))


def within_bounds(sizes: Mapping[int, int]) -> set[int]:
    """Those of these K, the last first with bytes each, that are kept."""
    stay, total = set[int](), 0
    for k, size in sizes.items():
        total += size
        if stay and (total > KEPT_BYTES_MAX or len(stay) == KEPT_MAX):
            break
        stay.add(k)
    return stay


def to_find(k: int, known: Keys, keys: Keys) -> int:
    """About how many lists of the entries with ``keys`` are to be found, where some are known.

    An entry that came or left is in about K lists of others.
    """
    missing, left = len(keys) - there(known, keys), len(known) - there(known, keys)
    return min(len(keys), missing + k * (missing + left))


def there(known: Keys, keys: Keys) -> int:
    """How many of the ``known`` are among the ``keys``."""
    return int(np.count_nonzero(np.isin(keys, known, assume_unique=True)))


def list_products(m: int, dimension: int, k: int) -> float:
    """What it costs to find one of ``m`` lists."""
    return m * dimension + SELECTION_PRODUCTS * width(k, m)


def mend(lists: NeighborLists, ram: RamCopy, part: int = 1) -> tuple[int, int] | None:
    """Do a ``part`` of what the ``lists`` of these rows lack: how many of how many are known then.

    None where they were all known, or are now.
    """
    m = len(lists.keys)
    cost = list_products(max(1, m), ram.vectors.dimension, lists.k)
    left = part * int(np.clip(PRODUCTS_AT_ONCE // cost, 16, 1024))
    new = np.flatnonzero(lists.new)[:left]
    if len(new):
        lists.stale[ram.vectors.reached(ram.vectors.gather(new), lists.floors)] = True
        lists.new[new] = False
        left -= len(new)
        if lists.new.any():
            return 0, m
    rows = np.flatnonzero(lists.stale)[:left]
    if len(rows) and m > 1:
        found, floors, settled = ram.others(rows, width(lists.k, m))
        rows = rows[settled]
        lists.lists[rows], lists.floors[rows] = found[settled], floors[settled]
    lists.stale[rows] = False
    stale = int(np.count_nonzero(lists.stale))
    return (m - stale, m) if stale else None


def coded(labels: NDArray[np.object_]) -> NDArray[np.int32]:
    """Labels as numbers, int32 (m,)."""
    codes: dict[str, int] = {}
    return np.fromiter((codes.setdefault(label, len(codes)) for label in labels), dtype=np.int32)
