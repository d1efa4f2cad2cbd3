"""One named memory: its entries are written, read, searched and checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.curation.misleading_counts import Counts, MisleadingCountsCache
from visual_memory_index.errors import (
    DeletedSince,
    EntriesExist,
    MemoryClosed,
    MemoryRefusal,
    UnknownEntries,
    WrongDimension,
)
from visual_memory_index.files.damage import damage_of
from visual_memory_index.files.database import keeping_log
from visual_memory_index.heads.head import Head
from visual_memory_index.ledger import audit
from visual_memory_index.ledger import digest as digests
from visual_memory_index.ledger.standing import Noted, OnStanding, Standing
from visual_memory_index.memory.check import Checked, Listed, check, has_entries
from visual_memory_index.memory.engine import Engine
from visual_memory_index.memory.head_statistics import HeadStatistics
from visual_memory_index.memory.operations import Operations
from visual_memory_index.memory.reembed import NewVectors
from visual_memory_index.memory.search import ridges_of_all, search
from visual_memory_index.memory.unlearn import Unlearning
from visual_memory_index.ram.change import Change
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.ram.ranked import HeadWish, Ranked, rank
from visual_memory_index.records.entry import Entry, IdMaker, Keys, Parts, VotingEntries, now
from visual_memory_index.records.filter import Filter
from visual_memory_index.records.neighbors import HeadScores, Neighbors, Query
from visual_memory_index.records.operation import Progress, unreported
from visual_memory_index.records.request import LOCAL, WHOLE, WITHOUT_ID, Request, StoredBatch
from visual_memory_index.scan.vectors import IndexFactory, Originals
from visual_memory_index.sqlite.replica import Replica
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.contents import StoredEntry
from visual_memory_index.store.store import AuditPage, Identity, Page, Transaction

MOMENT = 1 << 22  # numbers compared: some tenths of a millisecond, in which no thread takes over
ROWS_OF_MOMENT = 4096  # of more, many could be equally near, and threads of others would scan
OF_ROW, OF_NEIGHBOR, OF_VECTOR = 256, 1 << 12, 1 << 18  # numbers in the time that each takes


class Sizes(NamedTuple):
    """The numbers of voting and of pruned entries, and the bytes of the file with its log."""

    voting: int
    pruned: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """State of a memory: by label, how many entries are stored, and how many of them are pruned.

    Labels are ascending; ``bytes_on_disk`` is the size of its file and the write-ahead log;
    ``revision`` is the number of changes of its entries. Equal digests mean equal entries, see
    ``digest``. Its vectors are kept where ``originals`` says.
    """

    identity: Identity
    label_counts: Mapping[str, int]
    pruned_counts: Mapping[str, int]
    bytes_on_disk: int
    revision: int
    digest: str
    originals: Originals

    @property
    def count(self) -> int:
        """Number of stored entries."""
        return sum(self.label_counts.values())

    @property
    def pruned_count(self) -> int:
        """Number of stored entries that do not vote."""
        return sum(self.pruned_counts.values())


class Memory:
    """One named memory: a write is on disk before readers see it, and they see it as a whole."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.path, self.identity = engine, engine.files.path, engine.identity
        self._ids = IdMaker()
        self._counting = MisleadingCountsCache(
            engine.store, engine.reading_ram, engine.writer.turn, engine.current_ram
        )
        self.reporting_damage = engine.reporting_damage
        self.statistics = HeadStatistics(engine)
        self.operations = Operations(engine)
        self.unlearning = Unlearning(engine, self.operations, self._counting)

    @classmethod
    def open(
        cls,
        path: Path,
        committed: OnStanding = lambda standing: None,
        give_up: Callable[[], bool] = lambda: False,
        indexes: IndexFactory | None = None,
    ) -> Memory:
        """Open the memory in the file at ``path``.

        ``committed`` is called with the audit log position after each write, ``give_up`` to make
        room on a full disk, see ``Writer``. Without ``indexes`` the memory scans in threads of its
        own. Raises CorruptStore, BadAuditLog, NewerStore, FileUnavailable.
        """
        with damage_of(path), keeping_log(path):
            return cls._of(SqliteStore(path, committed), give_up, indexes)

    @classmethod
    def create(
        cls,
        path: Path,
        identity: Identity,
        committed: OnStanding = lambda standing: None,
        give_up: Callable[[], bool] = lambda: False,
        indexes: IndexFactory | None = None,
        *,
        principal: str = LOCAL,
    ) -> Memory:
        """Make a memory in a new file; see ``open`` for the parameters. Raises FileUnavailable."""
        return cls._of(SqliteStore.create(path, identity, committed, principal), give_up, indexes)

    @classmethod
    def _of(
        cls, store: SqliteStore, give_up: Callable[[], bool], indexes: IndexFactory | None
    ) -> Memory:
        try:
            engine = Engine(store, store, give_up, indexes)
            store.database.damaged = lambda damage: engine.lost(damage)
            memory = cls(engine)
            store.database.close_idle()  # those that loaded it: many memories are asked little
            return memory
        except BaseException:
            store.close()
            raise

    def watch(self, lost: Callable[[MemoryRefusal], None]) -> None:
        """Call ``lost``, which may not use this memory, with any damage that a call finds.

        That is BadAuditLog, CorruptCopy or CorruptStore, the last perhaps about another file.
        """
        self._engine.lost = lost

    def close(self, *, keep: bool = True) -> None:
        """Wait for the writer and the readers, then close the file.

        If ``keep`` is True, the neighbour lists in RAM are stored first.
        """
        try:
            if keep and self._engine.is_sound:
                self._counting.save()
        finally:
            self._engine.close()

    @property
    def count(self) -> int:
        """Number of voting entries, which a search can find."""
        return self._engine.ram.voting_count

    def sizes(self) -> Sizes:
        """Return how much the memory holds, without looking at each label."""
        with self._engine.searching_ram() as ram:
            size = self._engine.store.bytes_on_disk()
            return Sizes(ram.voting_count, len(ram.pruned), size)

    def info(self) -> MemoryInfo:
        """Return the memory's current counts, sizes, revision and digest."""
        with self._engine.searching_ram() as ram:
            stored = ram.label_counts + ram.pruned_counts
            return MemoryInfo(
                self.identity,
                dict(sorted(stored.items())),
                dict(sorted(ram.pruned_counts.items())),
                self._engine.store.bytes_on_disk(),
                *ram.shown,
                self._engine.originals,
            )

    def digest(self) -> str:
        """Return the digest of the entries as they are now, lower-case hex."""
        with self._engine.searching_ram() as ram:
            return ram.shown.digest

    def noted(self, erasing: str | None = None) -> Noted:
        """Return the state for the catalog to record: the memory's uid and audit log position now.

        ``erasing``, if any, names an operation that is about to erase entries.
        """
        with self._engine.reading_file() as store:
            standing = Standing.of(store.audit_events(0, 0).head)
            return Noted(self.identity.uid, standing, erasing)

    def check_dimension(self, vectors: NDArray[np.float32]) -> None:
        """Check the dimension of vectors (b, d). Raises WrongDimension."""
        if vectors.shape[1] != self.identity.dimension:
            raise WrongDimension(vectors.shape[1], self.identity.dimension)

    def recall(self, request: Request) -> list[str] | None:
        """Return the ids of this write if it was done before, else None. Raises RequestReused."""
        with self._engine.reading_file() as store:
            return store.recall(request)

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        """Return the stored batches of an import, in order. Raises RequestReused."""
        with self._engine.reading_file() as store:
            return store.stored_batches(request_id)

    def insert(
        self,
        entries: Sequence[Entry],
        vectors: NDArray[np.float32],
        *,
        request: Request = WITHOUT_ID,
        replace_existing: bool = False,
    ) -> list[str]:
        """Insert all ``entries`` with unit ``vectors`` (b, d), or none; return their ids.

        An empty id is replaced by a new one. Stored entries with the same ids are replaced if
        ``replace_existing``; else EntriesExist is raised. A repeated request stores nothing, and
        returns the same ids. Raises WrongDimension, RequestReused, WrongOffset, FileUnavailable.
        """
        self.check_dimension(vectors)
        given = [entry.id for entry in entries if entry.id]
        ids = [entry.id or self._ids.make() for entry in entries]
        elements = digests.elements(ids, entries, vectors)
        codes = self._engine.ram.vectors.encode(vectors)  # now, while no reader waits
        kept_codes = codes if self._engine.originals == "disk" else None
        call = "InsertEntries" if request.start == WHOLE else "ImportEntries"

        def write(transaction: Transaction) -> tuple[list[str], Change]:
            transaction.check_start(request)
            existing, _ = transaction.look_up(given)
            if len(existing.keys) and not replace_existing:
                raise EntriesExist(existing.ids.tolist())
            transaction.delete(existing.keys)
            new = transaction.next_keys(len(entries))
            transaction.insert(new, ids, entries, vectors, now(), elements, kept_codes)
            keys, labels = np.arange(new.start, new.stop), [entry.label for entry in entries]
            return ids, Change(existing.keys, VotingEntries(keys, ids, labels, vectors, codes))

        return self._engine.do_once(call, request, write)

    def delete(
        self, ids: Sequence[str], *, allow_missing: bool = False, request: Request = WITHOUT_ID
    ) -> list[str]:
        """Delete these entries; return the ids that were stored.

        Raises UnknownEntries, unless ``allow_missing``, RequestReused, FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[list[str], Change]:
            known, unknown = transaction.look_up(ids)
            if unknown and not allow_missing:
                raise UnknownEntries(unknown)
            return forget(transaction, known.ids.tolist(), known.keys)

        return self._engine.do_once("DeleteEntries", request, write, frees=True)

    def purge(self, filter: Filter, *, request: Request = WITHOUT_ID) -> list[str]:
        """Delete all entries that match ``filter``; return their ids, ascending.

        Raises RequestReused, FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[list[str], Change]:
            return forget(transaction, transaction.ids(filter), transaction.keys(filter))

        return self._engine.do_once("PurgeEntries", request, write, frees=True)

    def would_purge(self, filter: Filter) -> list[str]:
        """Return the ids that ``purge`` would delete now."""
        with self._engine.reading_file() as store:
            return store.ids(filter)

    def update(
        self,
        id: str,
        *,
        label: str | None = None,
        metadata: Mapping[str, str] | None = None,
        request: Request = WITHOUT_ID,
    ) -> Entry:
        """Set label, metadata or both of one entry; return the entry without its vector.

        A repeated request changes nothing, and returns the entry as it is now. Raises
        UnknownEntries, DeletedSince, RequestReused, FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[Entry, Change | None]:
            answered = transaction.recall(request)
            entry = transaction.entry(id)
            if answered is not None:
                if entry is None:
                    raise DeletedSince(id, request.id)
                return entry, None
            if entry is None:
                raise UnknownEntries([id])
            changed = replace(
                entry,
                label=entry.label if label is None else label,
                metadata=entry.metadata if metadata is None else metadata,
            )
            change = None
            if (changed.label, changed.metadata) != (entry.label, entry.metadata):
                keys = transaction.look_up([id])[0].keys
                transaction.update(int(keys[0]), changed)
                change = Change(relabelled=keys, labels=np.array([changed.label], object))
            transaction.keep(request, [id])
            transaction.log("UpdateEntry", 1, request.principal)
            return changed, change

        return self._engine.writer.do(write)

    def label_counts(self) -> dict[str, int]:
        """Return the number of voting entries of each label, labels in byte order."""
        with self._engine.reading_ram() as ram:
            return dict(sorted(ram.label_counts.items()))

    def setting(self, name: str) -> str | None:
        """Return the value of a setting, such as the taxonomy, or None if it was never stored."""
        return self._engine.settings.get(name)

    def keep_setting(
        self, name: str, value: str, *, call: str, request: Request = WITHOUT_ID
    ) -> None:
        """Store a setting, logged as ``call``; a repeated request does nothing.

        Raises RequestReused, FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[list[str], None]:
            transaction.keep_setting(name, value)
            return [], None

        self._engine.do_once(call, request, write)
        self._engine.read_settings()

    @property
    def revision(self) -> int:
        """Number of changes of the entries so far."""
        return self._engine.ram.shown.revision

    def audit_events(self, first: int = 0, *, limit: int) -> AuditPage:
        """Return up to ``limit`` audit events from number ``first`` on. Raises BadAuditLog."""
        named = audit.name_memory(self.identity.name)
        with self.reporting_damage(), self._engine.reading_file() as store, named:
            return store.audit_events(first, limit)

    def check(self, on_progress: Progress = lambda done, total: None) -> Checked:
        """Compare the file, as it is now, with its digest, its audit log and the copy in RAM.

        Reads and writes continue meanwhile, but the write-ahead log grows until the check ends.
        ``on_progress`` is called often. Raises CorruptStore, BadAuditLog, CorruptCopy, and what
        ``on_progress`` raises.
        """

        def in_ram(entries: Sequence[StoredEntry]) -> bool:
            with self._engine.reading_ram() as ram:
                return has_entries(ram, entries)

        def on(done: int, total: int) -> None:
            self._engine.check_open()
            on_progress(done, total)

        with self.reporting_damage(), self._engine.long_reads.reading(), ExitStack() as reading:
            with self._engine.writer.turn, self._engine.reading_ram() as ram:
                listed = Listed(ram)  # to be compared with the file, which begins at this moment
                contents = reading.enter_context(self._engine.store.contents())
            name, kind = self.identity.name, self.identity.kind
            return check(contents, name, kind, on, listed, in_ram)

    def entry(self, id: str, parts: Parts = Parts.NONE) -> Entry:
        """Return one entry. Raises UnknownEntries."""
        with self._engine.reading_file() as store:
            entry = store.entry(id, parts)
        if entry is None:
            raise UnknownEntries([id], read=True)
        return entry

    def entries(
        self,
        *,
        filter: Filter | None = None,
        after: str = "",
        limit: int,
        bytes_max: int = sys.maxsize,
        parts: Parts = Parts.NONE,
    ) -> Page:
        """Return up to ``limit`` entries with ids after ``after``, by id in byte order.

        Their sizes sum to at most ``bytes_max``, unless the first alone exceeds it.
        """
        with self._engine.reading_file() as store:
            return store.entries(
                filter=filter, after=after, limit=limit, bytes_max=bytes_max, parts=parts
            )

    def images(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Map id to image for the given ids; ids without one are absent."""
        with self._engine.reading_file() as store:
            return store.images(ids, "image")

    def thumbnails(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Map id to thumbnail for the given ids; ids without one are absent."""
        with self._engine.reading_file() as store:
            return store.images(ids, "thumbnail")

    def misleading_counts(
        self,
        k: int,
        on_progress: Progress = unreported,
        *,
        snapshot: RamCopy | None = None,
    ) -> Counts:
        """Return the misleading counts of all voting entries for k ≥ 1, now or in a ``snapshot``.

        They count how often an entry is among the k nearest of others, see ``Counts``.
        ``on_progress`` is called often. Raises MemoryClosed, and what ``on_progress`` raises.
        """
        if snapshot is not None:
            return self._counting.count_in(k, snapshot, on_progress)
        return self._counting.get(k, on_progress, lambda ram: None)[0]

    def hold_counts(self, k: int, counts: Counts) -> None:
        """Keep counts that are read in pages; only the two kept last are, until an unlearning."""
        self._counting.hold(k, counts)

    def held_counts(self, k: int, revision: int | None) -> Counts | None:
        """Return the counts for ``k`` that were kept at ``revision``, if any.

        Raises MemoryClosed.
        """
        return self._counting.held(k, revision)

    def knows_counts(self, k: int) -> bool:
        """Return True if ``misleading_counts`` for ``k`` would take about a second at most."""
        return self._counting.is_quick(k)

    def votes(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return a mask (n,) of the ``ids`` of entries that are stored and not pruned."""
        with self._engine.reading_ram() as ram:
            return ram.votes(ids)

    def ranking(
        self,
        query: NDArray[np.float32],
        exclude_ids: Sequence[str] = (),
        wish: HeadWish | None = None,
    ) -> Ranked:
        """Return all voting entries but ``exclude_ids`` by distance to one query (1, d).

        The head of a ``wish`` is of these entries. Raises WrongDimension, HeadTooLarge.
        """
        self.check_dimension(query)
        found = None
        while found is None:
            if wish is not None:
                self.statistics.prepare(wish.ridge)
            with self._engine.reading_ram() as ram:
                found = rank(ram, query, exclude_ids, wish)
        return found

    @contextmanager
    def copying(
        self,
        target: Path,
        check: Callable[[], None],
        begin: Callable[[Transaction], None] = lambda transaction: None,
        *,
        held: bool = False,
    ) -> Iterator[Replica]:
        """Yield a replica that writes all that is stored at this moment to a new file ``target``.

        ``begin`` is called first, in a transaction of its own; no write comes between that and the
        moment copied. ``check`` is called often, and may raise. ``held`` says that this thread is
        inside ``holding_writes``.

        Raises CorruptStore, BadAuditLog, FileUnavailable.
        """

        def go_on() -> None:
            self._engine.check_open()
            check()

        engine, inside = self._engine, nullcontext()
        with (
            self.reporting_damage(),
            inside if held else engine.long_reads.reading(),
            ExitStack() as copying,
        ):
            # Held, or it could be dropped while its file is opened.
            with inside if held else engine.writer.turn:
                self._engine.check_open()
                replica = copying.enter_context(Replica(self.path, target, go_on))
                with self._engine.store.transaction() as transaction:
                    begin(transaction)
                replica.begin()
            yield replica

    @property
    def version(self) -> int:
        """Number of transactions that have changed anything in the file since it was opened."""
        return self._engine.files.version

    @contextmanager
    def holding_writes(self, *, refuse: bool = False) -> Iterator[Callable[[], None]]:
        """Let writes wait until the end; yield a function that closes the memory before they go on.

        Those that wait then raise MemoryClosed; if ``refuse`` they raise it at once, so that no
        threads wait but one. The thread inside may start no write of its own.
        """
        engine = self._engine
        with engine.long_reads.reading(), engine.writer.turn, ExitStack() as refusing:
            engine.check_open()
            if refuse:
                closed = partial(MemoryClosed, engine.identity.name)
                refusing.enter_context(engine.writer.refusing(closed))
            yield engine.close_at_turn

    def new_vectors(self, spec: str, dimension: int) -> NewVectors:
        """Return the vectors of another embedder that are stored for this memory."""
        return NewVectors(self._engine, spec, dimension)

    def ids(self) -> list[str]:
        """Return the ids of all stored entries, in no order."""
        with self._engine.reading_ram() as ram:
            return [*ram.columns()[0].tolist(), *ram.pruned.ids(np.arange(len(ram.pruned)))]

    def has_metadata(self, key: str) -> bool:
        """Return True if a voting entry has this metadata ``key``."""
        with self._engine.reading_file() as store:
            return store.has_metadata(key)

    def snapshot(self) -> RamCopy:
        """Return a copy of the voting entries as of now, for work that takes long.

        Its vectors are in RAM. Raises TooLittleRam.
        """
        with self._engine.reading_ram() as ram:
            return ram.without()

    def snapshot_with(self, key: str) -> tuple[RamCopy, dict[str, str]]:
        """Return a ``snapshot``, and the value of a metadata ``key`` by the ids that have it.

        Both are of one moment: writes wait meanwhile. Raises TooLittleRam.
        """
        with self._engine.writer.turn:
            with self._engine.reading_file() as store:
                values = store.metadata_values(key)
            return self.snapshot(), values

    def nearest(self, queries: Sequence[Query]) -> list[Neighbors]:
        """Return for each query the k nearest entries that match it, fewer if there are not k.

        Queries without a filter are searched together. Raises MemoryClosed.
        """
        answers = {
            k: iter(self._nearest([query for query in queries if query.counts_k == k], k))
            for k in {query.counts_k for query in queries}
        }
        return [next(answers[query.counts_k]) for query in queries]

    def nearest_at_once(self, query: Query) -> Neighbors | None:
        """Return what ``nearest`` does, but None if that would wait, or take more than a moment.

        Raises MemoryClosed.
        """
        if not query.is_plain or self._engine.originals == "disk":
            return None
        with self._engine.searching_ram_if_free() as ram:
            if ram is None or not ram.vectors.answers_at_once:
                return None
            if len(ram) > ROWS_OF_MOMENT or work_of(query, len(ram)) > MOMENT:
                return None
            found = search([query], ram, self._engine.store)
        return None if found is None else found[0].neighbors

    def _nearest(self, queries: Sequence[Query], counts_k: int | None) -> list[Neighbors]:
        """Return the result of queries that all have the same ``counts_k``."""
        counts, found = None, None
        by_head = any(query.head or query.means for query in queries)
        reading = self._engine.reading_ram if by_head else self._engine.searching_ram
        while found is None:
            self.statistics.keep(ridges_of_all(queries))
            if counts_k is None:
                with reading() as ram:
                    found = search(queries, ram, self._engine.store)
                reading = self._engine.reading_ram  # waits for the change that RAM lacks
            else:
                counts, found = self._counting.get(
                    counts_k, unreported, lambda ram: search(queries, ram, self._engine.store)
                )
        answers = []
        for query, each in zip(queries, found, strict=True):
            v = counts.v[each.rows] if counts else None
            score = to_scoring(each.head, query) if each.head else None
            means = to_scoring(each.means, query) if each.means else None
            if score and means and query.ridge is None and query.all_have_head:
                means = score  # they are the same
            answers.append(replace(each.neighbors, v=v, score=score, means=means))
        return answers


def work_of(query: Query, rows: int) -> int:
    """Return the time of a search among so many ``rows``, in numbers compared, more or less."""
    count, dimension = map(int, query.vectors.shape)
    scanned = (rows + len(query.exclude_ids)) * (dimension + OF_ROW)
    return count * (scanned + min(query.k, rows) * OF_NEIGHBOR + OF_VECTOR)


def to_scoring(fitting: Callable[[], Head], query: Query) -> Callable[[], HeadScores]:
    """Return a function that scores a query by the head that ``fitting`` returns, once."""

    @cache
    def score() -> HeadScores:
        return fitting().compare(query.vectors)

    return score


def forget(transaction: Transaction, ids: list[str], keys: Keys) -> tuple[list[str], Change]:
    """Delete entries by ``keys``; return their ``ids``, and the change for the copy in RAM."""
    transaction.delete(keys)
    return ids, Change(keys)
