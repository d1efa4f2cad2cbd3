"""The engine of one memory: its store, the copy in RAM and the writer, kept in step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import (
    BadAuditLog,
    CorruptCopy,
    CorruptStore,
    FileUnavailable,
    MemoryClosed,
    MemoryRefusal,
)
from visual_memory_index.memory.writer import Writer
from visual_memory_index.ram.change import Change
from visual_memory_index.ram.lock import ReadWriteLock
from visual_memory_index.ram.originals import Originals
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.neighbors import Shown
from visual_memory_index.records.request import Request
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.vectors import IndexFactory
from visual_memory_index.store.contents import check_end
from visual_memory_index.store.store import Store, Transaction
from visual_memory_index.store.stored_files import StoredFiles

KEPT_AT_ONCE = 16_384  # codes that one transaction stores

T = TypeVar("T")


class Engine:
    """A ``store`` with its copy in RAM: a write is committed first, then readers see it as a whole.

    ``lock`` guards the copy in RAM, and ``whole`` too, while a large change is applied to it in
    parts, between which searches come. ``file_reads`` guards reads of the file. Checks and copies,
    during which the write-ahead log cannot be truncated, hold ``long_reads``, which is taken before
    all other locks.
    """

    def __init__(
        self,
        store: Store,
        files: StoredFiles,
        give_up: Callable[[], bool],
        indexes: IndexFactory | None,
    ) -> None:
        self.store, self.files, self._indexes = store, files, indexes or ScannedIndexes()
        self.originals = self._indexes.originals
        store.complete()
        self.identity = store.identity()
        with store.contents() as contents:
            check_end(contents, self.identity.name, self.identity.kind)
        self.lock, self.whole = ReadWriteLock(), ReadWriteLock()
        self.long_reads, self.file_reads = ReadWriteLock(), ReadWriteLock()
        self.writer = Writer(
            store,
            self.check_open,
            self._prepare,
            self._publish,
            lambda: self.ram.finish(),
            give_up,
        )
        self.lost: Callable[[MemoryRefusal], None] = lambda damage: None
        self._closed = False
        self._behind = False  # True if the copy in RAM does not match the file
        self._reading_settings = threading.Lock()  # or an earlier reading could replace a later one
        self.settings = store.settings()
        checking = self._indexes.checking.submit(store.check)
        try:
            self._load()
        finally:
            checking.result()  # whose error says more

    @property
    def is_sound(self) -> bool:
        """True while the memory is open and its copy in RAM matches the file."""
        return not (self._closed or self._behind)

    def check_open(self) -> None:
        """Check that the memory can be used. Raises MemoryClosed, CorruptCopy."""
        if self._closed:
            raise MemoryClosed(self.identity.name)
        if self._behind:
            raise CorruptCopy(self.identity.name)

    @contextmanager
    def reporting_damage(self) -> Iterator[None]:
        """Call ``lost`` with damage that is found inside the block, before it is raised."""
        try:
            yield
        except (BadAuditLog, CorruptCopy, CorruptStore) as damage:
            self.lost(damage)
            raise

    def close(self) -> None:
        """Wait for the writer and the readers, then close the file."""
        with self.writer.turn:
            self.close_at_turn()

    def close_at_turn(self) -> None:
        """Wait for the readers, then close the file; the caller holds the writer's turn."""
        with self.file_reads.writing(), self.lock.writing():
            if not self._closed:
                self._closed = True
                self.ram.close()
                self.store.close()

    def current_ram(self) -> RamCopy:
        """Return the copy in RAM; the caller holds ``lock``. Raises MemoryClosed, CorruptCopy."""
        self.check_open()
        return self.ram

    @contextmanager
    def reading_ram(self) -> Iterator[RamCopy]:
        """Yield the copy in RAM, which does not change until the end."""
        with self.whole.reading(), self.searching_ram() as ram:
            yield ram

    @contextmanager
    def searching_ram(self) -> Iterator[RamCopy]:
        """Yield the copy in RAM, unchanged until the end; some rows may be ``hidden``."""
        with self.reporting_damage(), self.lock.reading():
            yield self.current_ram()

    @contextmanager
    def searching_ram_if_free(self) -> Iterator[RamCopy | None]:
        """Yield what ``searching_ram`` yields, but None if there is something to wait for."""
        with self.reporting_damage(), self.lock.reading_if_free() as free:
            yield self.current_ram() if free else None

    @contextmanager
    def changing_ram(self) -> Iterator[RamCopy]:
        """Yield the copy in RAM alone; searches go on while it waits for ``reading_ram``."""
        with self.reporting_damage(), self.whole.writing(), self.lock.writing():
            yield self.current_ram()

    @contextmanager
    def reading_file(self) -> Iterator[Store]:
        """Yield the store; until the end its file is open, its write-ahead log untruncated."""
        with self.file_reads.reading():
            self.check_open()
            yield self.store

    def read_settings(self) -> None:
        """Reload the settings from the store, after some were stored."""
        with self._reading_settings, self.reading_file() as store:
            self.settings = store.settings()

    def do_once(
        self,
        call: str,
        request: Request,
        write: Callable[[Transaction], tuple[list[str], Change | None]],
        *,
        frees: bool = False,
    ) -> list[str]:
        """Do a write, logged as ``call``, and return the ids that it returns.

        If the request was answered before, nothing is written, and the ids of that answer are
        returned. ``frees`` is as for ``Writer.do``.
        """

        def once(transaction: Transaction) -> tuple[list[str], Change | None]:
            if (answered := transaction.recall(request)) is not None:
                return answered, None
            ids, change = write(transaction)
            transaction.keep(request, ids)
            transaction.log(call, len(ids), request.principal)
            return ids, change

        return self.writer.do(once, frees=frees)

    def _prepare(self, changes: Sequence[Change]) -> None:
        """Make room in RAM before a commit, since applying the changes later must not fail."""
        with self.reporting_damage():
            self.ram.prepare(changes)

    def _publish(self, changes: Sequence[Change]) -> None:
        """Apply committed changes to the copy in RAM; on an error load it anew and re-raise.

        If loading fails, too, or memory runs out for the wait for readers, all later calls raise
        CorruptCopy.
        """
        under_way = True
        try:
            with self.whole.writing():
                steps = self._steps(changes)
                try:
                    while under_way:
                        with self.lock.writing():
                            try:
                                under_way = next(steps, True) is None
                            except BaseException:
                                under_way = False
                                self._load_anew()
                                raise
                        if under_way:
                            self.lock.let_in()
                finally:
                    self._behind |= under_way
        except BaseException:
            if under_way:
                self._fall_behind()
            raise

    def _steps(self, changes: Sequence[Change]) -> Iterator[None]:
        """Apply committed changes to the copy in RAM; yield where searches may come between."""
        for change in changes:
            yield from self.ram.apply(change)
        self.ram.finish()

    def _load_anew(self) -> None:
        try:
            self.ram.close()
            self._load()
        except BaseException:
            self._fall_behind()
            raise

    def _fall_behind(self) -> None:
        self._behind = True
        self.lost(CorruptCopy(self.identity.name))

    def _load(self) -> None:
        dimension = self.identity.dimension
        read = partial(self.store.vectors, dimension=dimension)
        originals = Originals(self.identity.name, read) if self.originals == "disk" else None
        ram = RamCopy(dimension, self._indexes, originals)
        try:
            self._fill(ram)
        except BaseException:
            ram.close()
            raise
        self.ram = ram

    def _fill(self, ram: RamCopy) -> None:
        pruned = self.store.pruned()
        ram.expect(max(0, self.store.entry_count() - len(pruned)))
        if pruned:
            ram.add_pruned(*map(list, zip(*pruned, strict=True)))
        if self.originals == "disk":
            self._load_codes(ram)
        else:
            rows = self.store.rows(self.identity.dimension)
            for revision, entries in ahead(rows, self._indexes.loading):
                ram.add(entries.keys, entries.ids, entries.labels, entries.vectors)
                ram.revision = revision
        ram.shown = Shown(ram.revision, self.store.digest())

    def _load_codes(self, ram: RamCopy) -> None:
        """Load voting entries with their codes, then store the codes that were missing."""
        made: list[NDArray[np.int64]] = []
        rows = self.store.coded_rows(ram.vectors.dimension, ram.vectors.encode)
        for revision, entries in ahead(rows, self._indexes.loading):
            ram.add_coded(entries)
            ram.revision = revision
            made.append(entries.keys[~entries.stored])
        keys = np.concatenate(made)
        with suppress(FileUnavailable):  # such as a full disk: the next start makes them again
            for start in range(0, len(keys), KEPT_AT_ONCE):
                part = keys[start : start + KEPT_AT_ONCE]
                self.store.keep_codes(part, ram.vectors.codes(ram.rows_of_keys(part)))


def ahead(items: Iterator[T], threads: Executor) -> Iterator[T]:
    """Yield ``items``, of which one of ``threads`` makes one while another is worked on."""
    coming = threads.submit(next, items, None)
    try:
        while (item := coming.result()) is not None:
            coming = threads.submit(next, items, None)
            yield item
    finally:
        wait([coming])
