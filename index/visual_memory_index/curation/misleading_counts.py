"""Misleading counts of one memory, exact at every read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.curation.neighbor_lists import UNFIT, Keys, NeighborLists, width
from visual_memory_index.curation.pruning import misleading_counts
from visual_memory_index.errors import CorruptStore, FileUnavailable
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.operation import UNLEARN, Progress, unreported
from visual_memory_index.store.store import Store

PRODUCTS_AT_ONCE = 2e9  # of a scan under the readers' lock: some tens of milliseconds
SELECTION_PRODUCTS = 1e4  # take as long as keeping one more neighbour in a scan, measured by hand
PARTS_MAX = 16  # done at once, if writes undo as much as one part does
MOMENT = 20  # parts: about a second
KEPT_MAX = 4  # different K
KEPT_BYTES_MAX = 1 << 30  # of them together, but the one used last is kept anyway
HELD_MAX = 2  # states whose counts are read in pages
WAIT_SECONDS = 0.1
LISTS, KNOWN = "lists.", "known."  # lists, and the keys of the entries whose lists are known

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """The misleading counts of all voting entries for one K (Geirhos et al., 2024, section 3.3).

    ``v`` int64 (m,) counts how often an entry is among the K nearest of an entry with another
    label, ``c`` int64 (m,) how often of an entry with the same label. ``ids`` and ``labels`` are
    objects (m,); all are in the order of the rows at ``revision``.
    """

    revision: int
    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    v: NDArray[np.int64]
    c: NDArray[np.int64]


class MisleadingCountsCache:
    """A cache of neighbour lists; after an edit only the lists that changed are computed again.

    Lists of the few K used last stay in RAM, and of as many K in the store: lists that took long to
    compute are written there at once, other lists by ``save``, each with the keys of the entries
    whose lists are computed. A thread that updates the lists for K removes them from the cache
    and holds K's lock. ``reading`` holds the readers' lock and yields the copy in RAM, ``ram``
    returns it where the caller holds a lock; both raise MemoryClosed.
    """

    def __init__(
        self,
        store: Store,
        reading: Callable[[], AbstractContextManager[RamCopy]],
        writing: AbstractContextManager[object],
        ram: Callable[[], RamCopy],
    ) -> None:
        self._store, self._reading, self._writing, self._ram = store, reading, writing, ram
        self._guard = threading.Lock()  # guards the fields below
        self._turns: dict[int, threading.Lock] = {}
        self._lists: dict[int, NeighborLists] = {}
        self._known: dict[int, Keys] = {}
        self._counts: dict[int, Counts] = {}
        self._held: dict[tuple[int, int | None], Counts] = {}
        self._damaged: set[int] = set()  # K whose lists could not be read from the store
        self._oldest = 0  # lists and counts of earlier revisions are not kept

    def is_quick(self, k: int) -> bool:
        """Return True if the counts for K take about a second at most once their lists are in RAM.

        Stored lists by which they do are loaded first, as they may be damaged.
        """
        with self._reading() as ram:
            if self._fresh(k, ram) is not None:
                return True
            if (known := self._known.get(k)) is not None:
                return take_a_moment(k, known, ram)
            if not take_a_moment(k, self._stored_known(k), ram):
                return False
        with self._checked_out(k, unreported) as lists, self._reading() as ram:
            return take_a_moment(k, lists.known(), ram)

    def get(
        self, k: int, on_progress: Progress, beside: Callable[[RamCopy], T]
    ) -> tuple[Counts, T]:
        """Return how often each entry misleads for k ≥ 1, and the result of ``beside``.

        ``beside`` is called with the copy in RAM that the counts are for, under the readers' lock.
        While counting, the lock is released between parts of the work. An exception of
        ``on_progress`` ends the work and is passed on.
        """
        with self._reading() as ram:
            if (counts := self._fresh(k, ram)) is not None:
                return counts, beside(ram)
        return self._find(k, self._reading, on_progress, beside)

    def hold(self, k: int, counts: Counts) -> None:
        """Keep counts for ``held``, in place of those that were passed here longest ago."""
        with self._guard:
            if counts.revision >= self._oldest:
                self._held.pop((k, counts.revision), None)
                self._held = dict([*self._held.items(), ((k, counts.revision), counts)][-HELD_MAX:])

    def held(self, k: int, revision: int | None) -> Counts | None:
        """Return the counts for K that ``hold`` kept of this revision, if any."""
        with self._reading():
            return self._held.get((k, revision))

    def count_in(self, k: int, snapshot: RamCopy, on_progress: Progress) -> Counts:
        """Return the misleading counts of a snapshot of the memory, unaffected by later writes."""
        with self._reading():  # or raise MemoryClosed
            pass
        return self._find(k, lambda: nullcontext(snapshot), on_progress, lambda ram: None)[0]

    def forget(self) -> None:
        """Drop all lists and counts, also those that another thread is computing.

        The store drops its lists itself, together with the entries they were found for. The caller
        holds the lock for writing.
        """
        with self._guard:
            self._oldest = self._ram().revision
            for kept in (self._lists, self._known, self._counts, self._held):
                kept.clear()

    def drop_stale(self) -> None:
        """Drop counts of earlier revisions: entries that they name may be deleted by now."""
        with self._reading() as ram, self._guard:
            now = ram.revision
            self._counts = {k: each for k, each in self._counts.items() if each.revision == now}
            self._held = {key: each for key, each in self._held.items() if each.revision == now}

    def save(self) -> None:
        """Write the neighbour lists in RAM to the store, and drop them from RAM."""
        with self._guard:
            kept = dict(self._lists)
            self._lists.clear()
        for k, lists in kept.items():
            self._keep(k, lists)
        with self._writing, suppress(FileUnavailable, CorruptStore):
            self._drop_unused()

    def _fresh(self, k: int, ram: RamCopy) -> Counts | None:
        counts = self._counts.get(k)
        return counts if counts is not None and counts.revision == ram.revision else None

    def _find(
        self,
        k: int,
        hold: Callable[[], AbstractContextManager[RamCopy]],
        on_progress: Progress,
        beside: Callable[[RamCopy], T],
    ) -> tuple[Counts, T]:
        """Compute the missing neighbour lists; return the counts and ``beside(copy)``, see ``get``.

        The work is done in parts; for each, ``hold()`` is entered, which locks and yields the copy
        in RAM.
        """
        with self._checked_out(k, on_progress) as lists:
            with hold() as ram:
                keys = ram.keys_of_rows().copy()
            lists.revision = UNFIT
            lists.follow(keys)  # may take long here, and then is quick under the lock
            parts, part, left = 0, 1, (len(keys) + 1, 0)
            while True:
                with hold() as ram:
                    lists.revision = UNFIT
                    lists.follow(ram.keys_of_rows())
                    progress = update_lists(lists, ram, part)
                    lists.revision = ram.revision
                    if progress is None:
                        seen, (ids, labels) = beside(ram), ram.columns()
                        break
                on_progress(*progress)
                parts += 1
                if lists.left >= left:
                    part = min(2 * part, PARTS_MAX)
                left = lists.left
            v, c = misleading_counts(lists.lists, label_codes(labels))
            counts = Counts(lists.revision, ids, labels, v, c)
            with self._guard:
                if counts.revision >= self._oldest:
                    self._counts[k] = counts
            if parts >= MOMENT:
                self._keep(k, lists)
            return counts, seen

    @contextmanager
    def _checked_out(self, k: int, on_progress: Progress) -> Iterator[NeighborLists]:
        """Take the lists for K out of the cache, hold K's lock, and put them back at the end.

        While the call waits for the lock, ``on_progress`` is called, and may raise.
        """
        with self._guard:
            turn = self._turns.setdefault(k, threading.Lock())
        while not turn.acquire(timeout=WAIT_SECONDS):
            on_progress(0, 0)
        try:
            with self._guard:
                taken = self._lists.pop(k, None)
            if taken is None:
                with self._reading() as ram:
                    taken = self._stored(k)
                    taken.revision = ram.revision
            try:
                yield taken
            finally:
                self._put(k, taken)
        finally:
            turn.release()

    def _put(self, k: int, taken: NeighborLists) -> None:
        known = taken.known()
        with self._guard:
            if taken.revision < self._oldest:
                return
            self._lists[k], self._known[k] = taken, known
            sizes = {each: kept.nbytes for each, kept in reversed(self._lists.items())}
            for old in sizes.keys() - keep_within_bounds(sizes):
                for kept in (self._lists, self._known, self._counts):
                    kept.pop(old, None)

    def _stored(self, k: int) -> NeighborLists:
        data = self._store.derived(stored_name(LISTS, k))
        with suppress(ValueError):  # damaged lists are found again
            if data is not None:
                return NeighborLists.from_bytes(data)
        self._damaged.add(k)
        return NeighborLists.unknown(k, np.empty(0, dtype=np.int64))

    def _stored_known(self, k: int) -> Keys:
        """Return the keys of the entries whose lists are stored, unless those proved damaged."""
        known = None if k in self._damaged else self._store.derived(stored_name(KNOWN, k))
        return np.frombuffer(known or b"", dtype=np.int64)

    def _keep(self, k: int, found: NeighborLists) -> None:
        """Write lists to the store unless they are stored already or too large."""
        if found.nbytes > self._store.derived_bytes_max:
            return
        known = found.known()
        with suppress(FileUnavailable, CorruptStore):  # lists that are not kept are found again
            with self._reading():
                stored = self._stored_known(k)
            if np.array_equal(known, stored):
                return
            data = found.to_bytes()
            with self._writing:
                self._ram()
                erasing = any(each.kind == UNLEARN for each in self._store.unfinished())
                if found.revision >= self._oldest and not erasing:
                    self._store.keep_derived(stored_name(LISTS, k), data)
                    self._store.keep_derived(stored_name(KNOWN, k), known.tobytes())
                    self._damaged.discard(k)
                    self._drop_unused()

    def _drop_unused(self) -> None:
        """Drop stored neighbour lists that save no time or are too many.

        Lists of an earlier release, and lists mostly of deleted entries, save no time. The caller
        holds the writer's lock.
        """
        keys = self._ram().keys_of_rows()
        sizes = self._store.derived_sizes(LISTS)
        own = {
            k: size
            for name, size in sizes.items()
            for k in [int(name.rpartition(".")[2])]
            if name == stored_name(LISTS, k)
        }
        known = {k: self._stored_known(k) for k in own}
        of_use = {
            k: size for k, size in own.items() if 2 * count_common(known[k], keys) >= len(known[k])
        }
        stay = {stored_name(LISTS, k) for k in keep_within_bounds(of_use)}
        if dropped := sizes.keys() - stay:
            known_names = {f"{KNOWN}{name.removeprefix(LISTS)}" for name in dropped}
            self._store.drop_derived([*dropped, *known_names])


def stored_name(kind: str, k: int) -> str:
    """Return the name in the store of data derived for the neighbour lists of one K.

    With the ``kind`` LISTS that is the lists themselves, with KNOWN the keys of the entries whose
    lists are computed.
    """
    return f"{kind}{k}"


def keep_within_bounds(sizes: Mapping[int, int]) -> set[int]:
    """Return the K whose neighbour lists are kept: those used last, within two limits.

    ``sizes`` maps each K to the bytes of its lists, the K used last first; that one is always kept.
    The limits are on the bytes and on the number of K.
    """
    stay, total = set[int](), 0
    for k, size in sizes.items():
        total += size
        if stay and (total > KEPT_BYTES_MAX or len(stay) == KEPT_MAX):
            break
        stay.add(k)
    return stay


def missing_lists(k: int, known: Keys, keys: Keys) -> int:
    """Estimate how many neighbour lists of ``keys`` are missing if those of ``known`` are computed.

    An entry added or deleted changes the lists of about ``k`` other entries.
    """
    missing, left = len(keys) - count_common(known, keys), len(known) - count_common(known, keys)
    return min(len(keys), missing + k * (missing + left))


def take_a_moment(k: int, known: Keys, ram: RamCopy) -> bool:
    """Return True if counts for ``k`` take about a second where ``known`` have their lists."""
    keys = ram.keys_of_rows()
    cost = list_cost(len(keys), ram.vectors.dimension, k)
    return missing_lists(k, known, keys) * cost <= MOMENT * PRODUCTS_AT_ONCE


def count_common(known: Keys, keys: Keys) -> int:
    """Count the keys that are in both arrays."""
    return int(np.count_nonzero(np.isin(keys, known, assume_unique=True)))


def list_cost(m: int, dimension: int, k: int) -> float:
    """Return the cost of finding one neighbour list among ``m`` entries, in multiplications."""
    return m * dimension + SELECTION_PRODUCTS * width(k, m)


def update_lists(lists: NeighborLists, ram: RamCopy, part: int = 1) -> tuple[int, int] | None:
    """Compute some missing neighbour lists; return how many of all are computed: (computed, all).

    Return None if none is missing any more. A larger ``part`` computes more lists in one call.
    """
    m = len(lists.keys)
    cost = list_cost(max(1, m), ram.vectors.dimension, lists.k)
    left = part * int(np.clip(PRODUCTS_AT_ONCE // cost, 16, 1024))
    new = np.flatnonzero(lists.new)[:left]
    if len(new):
        vectors = ram.vectors.gather(new)
        score_bounds = np.where(lists.stale, np.float32(np.inf), lists.score_bounds)
        lists.stale[ram.vectors.affected_rows(vectors, score_bounds)] = True
        lists.new[new] = False
        left -= len(new)
        if lists.new.any():
            return 0, m
    rows = np.flatnonzero(lists.stale)[:left]
    if len(rows) and m > 1:
        found, score_bounds, resolved = ram.nearest_others(rows, width(lists.k, m))
        rows = rows[resolved]
        lists.lists[rows], lists.score_bounds[rows] = found[resolved], score_bounds[resolved]
    lists.stale[rows] = False
    stale = int(np.count_nonzero(lists.stale))
    return (m - stale, m) if stale else None


def label_codes(labels: NDArray[np.object_]) -> NDArray[np.int32]:
    """Return a number for each entry, int32 (m,), equal if the labels are equal."""
    codes: dict[str, int] = {}
    return np.fromiter((codes.setdefault(label, len(codes)) for label in labels), dtype=np.int32)
