"""Checking that a memory, in its file and in RAM, holds what was written to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import CorruptCopy, CorruptStore
from visual_memory_index.ledger import digest as digests
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.operation import Progress
from visual_memory_index.store.contents import Contents, StoredEntry, check_end, check_log, state_of

LISTED_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of a check: the numbers of entries and audit events, and the memory's digest."""

    entry_count: int
    event_count: int
    digest: str


class Listed:
    """The entries in RAM at one moment, to be compared with the stored entries in order of keys.

    Of ids it has the hashes, an eighth of the RAM; ``has_entries`` compares the ids.
    """

    def __init__(self, ram: RamCopy) -> None:
        self._hashes_of = ram.hashes_of
        self._left = {True: by_key(*ram.listing()), False: by_key(*ram.pruned.listing())}

    def follow(self, entries: Sequence[StoredEntry]) -> bool:
        """Compare the next entries in RAM, by key, with the next stored ``entries``.

        Return True if they have the same ids, labels and votes.
        """
        alike = True
        for votes, left in self._left.items():
            some = [each for each in entries if each.votes is votes]
            hashes = self._hashes_of([each.id for each in some]).tolist()
            stored = [(each.key, hash, each.label) for each, hash in zip(some, hashes, strict=True)]
            alike = list(islice(left, len(stored))) == stored and alike
        return alike

    def end(self) -> bool:
        """Return True if every entry in RAM has been compared."""
        return all(next(left, None) is None for left in self._left.values())


def by_key(
    keys: NDArray[np.int64], hashes: NDArray[np.int64], labels: NDArray[np.object_]
) -> Iterator[tuple[int, int, str]]:
    """Yield key, hash and label by ascending key; the sorting is done on the first read."""
    order = np.argsort(keys)
    for start in range(0, len(order), LISTED_AT_ONCE):
        rows = order[start : start + LISTED_AT_ONCE]
        yield from zip(keys[rows].tolist(), hashes[rows].tolist(), labels[rows], strict=True)


def check(
    contents: Contents,
    name: str,
    kind: str,
    on_progress: Progress,
    listed: Listed | None = None,
    has_entries: Callable[[Sequence[StoredEntry]], bool] = lambda entries: True,
) -> Checked:
    """Compare a file with its digest and its audit log, and with the entries in RAM at that moment.

    ``name`` is the memory's name, for errors, and ``kind`` its ``Identity.kind``. ``listed`` has
    the entries in RAM, or is None if these are not to be compared. ``has_entries`` returns True if
    RAM has the ids and vectors of the entries passed to it. ``on_progress`` is called with the
    number of entries and events done and the total, and may raise. Raises CorruptStore,
    BadAuditLog, CorruptCopy.
    """
    total = contents.count() + contents.head.size
    contents.check_file(lambda: on_progress(0, total))
    state, done, other_images = digests.empty(), 0, 0
    alike = True
    for entries in contents.entries():
        hashes = [b"" if each.image is None else sha256(each.image).digest() for each in entries]
        other_images += sum(
            bool(found) and found != each.content_sha256
            for found, each in zip(hashes, entries, strict=True)
        )
        state = state + state_of(entries, hashes)
        alike = (listed is None or listed.follow(entries)) and has_entries(entries) and alike
        done += len(entries)
        on_progress(done, total)
    if other_images:
        raise CorruptStore(contents.path, f"of its images {other_images} are not as sent")
    if not np.array_equal(state, contents.state):
        raise CorruptStore(contents.path, "its entries are not those of its digest")
    check_end(contents, name, kind)
    event_count = check_log(contents, name, kind, lambda read: on_progress(done + read, total))
    on_progress(total, total)
    if not (alike and (listed is None or listed.end())):
        raise CorruptCopy(name)
    return Checked(done, event_count, digests.shown(state, kind))


def has_entries(ram: RamCopy, entries: Sequence[StoredEntry]) -> bool:
    """Return True if what RAM has of each of ``entries`` is its id, and its vector if it votes."""
    keys = np.array([each.key for each in entries], np.int64)
    stored, dimension = {each.key: each for each in entries}, ram.vectors.dimension
    silent = ram.pruned.rows_of_keys(keys)
    silent = silent[silent >= 0]
    ids_of = {key: each.id for key, each in stored.items()}
    if ram.pruned.ids(silent).tolist() != [ids_of[key] for key in ram.pruned.keys[silent].tolist()]:
        return False
    rows = ram.rows_of_keys(keys)
    found = [stored[key] for key in ram.keys_of_rows()[rows].tolist()]
    ids, _ = ram.columns(rows)
    written = [each.vector for each in found]
    if ids.tolist() != [each.id for each in found] or any(
        len(vector) != 4 * dimension for vector in written
    ):
        return False
    vectors = np.frombuffer(b"".join(written), "<f4").reshape(-1, dimension)
    return ram.vectors.holds(rows, vectors.astype(np.float32, copy=False))
