"""One named memory: its store, the copy in RAM, one writer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import unlearn
from visual_memory_index.check import Checked, Listed, check, has_vectors
from visual_memory_index.curation.misleading_counts import Counts, MisleadingCountsCache
from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.erasure.search import Findings, search_files, unexplained
from visual_memory_index.errors import (
    CorruptCopy,
    DeletedSince,
    EntriesExist,
    MemoryClosed,
    NotUndoable,
    NotWritten,
    UnknownEntries,
    WrongDimension,
)
from visual_memory_index.files.damage import damage_of
from visual_memory_index.ledger import audit
from visual_memory_index.ledger import digest as digests
from visual_memory_index.ledger.standing import Noted, OnStanding, Standing, ignore_standing
from visual_memory_index.ram.change import Added, Change
from visual_memory_index.ram.lock import ReadWriteLock
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.clock import now
from visual_memory_index.records.entry import Entry, IdMaker, Parts
from visual_memory_index.records.filter import Filter
from visual_memory_index.records.neighbors import Neighbors, Query
from visual_memory_index.records.operation import GONE, UNLEARN, Operation, State
from visual_memory_index.records.progress import Progress, unreported
from visual_memory_index.records.request import LOCAL, WHOLE, WITHOUT_ID, Request, StoredBatch
from visual_memory_index.scan.faiss_scan import FaissIndexes
from visual_memory_index.scan.vectors import IndexFactory
from visual_memory_index.search import search
from visual_memory_index.sqlite.replica import Replica
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.contents import StoredEntry
from visual_memory_index.store.log_check import check_end
from visual_memory_index.store.store import (
    AuditPage,
    Identity,
    Known,
    Page,
    Sought,
    Store,
    Transaction,
)
from visual_memory_index.store.stored_files import StoredFiles
from visual_memory_index.unlearn import Facts
from visual_memory_index.writer import Writer

UNDOABLE = ("prune", "relabel")
CUT_SECONDS = 1.0  # in which checks and copies that come later wait for it


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """State of a memory: stored entries and the pruned among them, in all and by label.

    Labels are ascending; ``bytes_on_disk`` counts its file with the write-ahead log; ``revision``
    counts the changes of its entries. Equal digests mean equal entries, see ``digest``.
    """

    identity: Identity
    label_counts: Mapping[str, int]
    pruned_counts: Mapping[str, int]
    bytes_on_disk: int
    revision: int
    digest: str

    @property
    def count(self) -> int:
        """Number of stored entries."""
        return sum(self.label_counts.values())

    @property
    def pruned_count(self) -> int:
        """Number of stored entries that do not vote."""
        return sum(self.pruned_counts.values())


class StartedOperation(NamedTuple):
    """An operation; ``again`` is True if the same request began it before."""

    operation: Operation
    again: bool


class Memory:
    """One named memory: writes reach the disk, then the readers, each as a whole."""

    def __init__(
        self,
        store: Store,
        files: StoredFiles,
        give_up: Callable[[], bool] = lambda: False,
        indexes: IndexFactory | None = None,
    ) -> None:
        self._store, self._files, self._indexes = store, files, indexes or FaissIndexes()
        self.path = files.path
        store.complete()
        self.identity = store.identity()
        with store.contents() as contents:
            check_end(contents, self.identity.name, self.identity.kind)
        self._ids = IdMaker()
        self._lock = ReadWriteLock()
        self._long_reads = ReadWriteLock()  # checks and copies hold the log; taken before all else
        self._file_reads = ReadWriteLock()  # what reads the file, and not RAM
        self._writer = Writer(store, self._check_open, self._prepare, self._publish, give_up)
        self._counting = MisleadingCountsCache(
            store, self._lock, self._writer.turn, self._ram_to_read
        )
        self._closed = False
        self._behind = False  # the copy in RAM is not what the file holds
        self._lost: Callable[[CorruptCopy], None] = lambda damage: None
        self._unwritten: dict[str, Operation] = {}  # ended, which the file does not know
        self._reading_settings = threading.Lock()  # or what is read later may be kept earlier
        self._settings = store.settings()
        newest = "".join(each.name for each in store.operations(before="", limit=1))
        self._operation_ids = IdMaker(after=newest.rpartition("/")[2])  # clocks may go back
        self._load()
        store.fail_unfinished()  # the first that is written, once all was found as it should be

    @classmethod
    def open(
        cls,
        path: Path,
        committed: OnStanding = ignore_standing,
        give_up: Callable[[], bool] = lambda: False,
        indexes: IndexFactory | None = None,
    ) -> Memory:
        """Open the file at ``path``; ``committed`` is called with its standing after each write.

        See ``Writer`` for ``give_up``; without ``indexes`` it scans in threads of its own. Raises
        CorruptStore, BadAuditLog, NewerStore, NotWritten.
        """
        with damage_of(path), ExitStack() as undo:
            store = SqliteStore(path, committed)
            undo.callback(store.close)
            memory = cls(store, store, give_up, indexes)
            undo.pop_all()
            return memory

    @classmethod
    def create(
        cls,
        path: Path,
        identity: Identity,
        committed: OnStanding = ignore_standing,
        give_up: Callable[[], bool] = lambda: False,
        indexes: IndexFactory | None = None,
        *,
        principal: str = LOCAL,
    ) -> Memory:
        """Make a new memory in a new file, like ``open``. Raises NotWritten."""
        with ExitStack() as undo:
            store = SqliteStore.create(path, identity, committed, principal)
            undo.callback(store.close)
            memory = cls(store, store, give_up, indexes)
            undo.pop_all()
            return memory

    def watch(self, lost: Callable[[CorruptCopy], None]) -> None:
        """Call ``lost`` once the memory refuses all calls; it may call nothing here."""
        self._lost = lost

    def close(self, *, keep: bool = True) -> None:
        """Wait for the writer and the readers, then close the file.

        Neighbour lists that were found are stored first if ``keep`` is True.
        """
        with ExitStack() as closing:
            closing.callback(self._let_go)
            if keep and not self._closed and not self._behind:
                self._counting.save()

    def _let_go(self) -> None:
        with self._writer.turn, self._file_reads.writing(), self._lock.writing():
            if not self._closed:
                self._closed = True
                self._store.close()

    @property
    def count(self) -> int:
        """Number of voting entries, which a search can find."""
        return len(self._ram)

    def info(self) -> MemoryInfo:
        """Return counts and sizes."""
        with self._lock.reading():
            self._check_open()
            pruned = self._ram.pruned_counts
            stored = self._ram.label_counts + pruned
            return MemoryInfo(
                self.identity,
                dict(sorted(stored.items())),
                dict(sorted(pruned.items())),
                self._store.bytes_on_disk(),
                self._ram.revision,
                self._digest,
            )

    def noted(self, erasing: str | None = None) -> Noted:
        """Return what the catalog notes of it now; ``erasing`` is an unlearn operation, if any."""
        with self._reading_file():
            standing = Standing.of(self._store.audit_events(0, 0).head)
            return Noted(self.identity.uid, standing, erasing)

    def check_dimension(self, vectors: NDArray[np.float32]) -> None:
        """Check the dimension of vectors (b, d). Raises WrongDimension."""
        if vectors.shape[1] != self.identity.dimension:
            raise WrongDimension(vectors.shape[1], self.identity.dimension)

    def recall(self, request: Request) -> list[str] | None:
        """Return the ids of this write if it was done before, else None. Raises RequestReused."""
        with self._reading_file():
            return self._store.recall(request)

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        """Return the stored batches of an import, in order. Raises RequestReused."""
        with self._reading_file():
            return self._store.stored_batches(request_id)

    def insert(
        self,
        entries: Sequence[Entry],
        vectors: NDArray[np.float32],
        *,
        request: Request = WITHOUT_ID,
        replace_existing: bool = False,
    ) -> list[str]:
        """Insert all ``entries`` with unit ``vectors`` (b, d), or none; return their ids.

        An empty id is replaced by a new one. A repeated request returns as before, storing nothing.
        Raises EntriesExist, WrongDimension, RequestReused, WrongOffset, NotWritten.
        """
        self.check_dimension(vectors)
        given = [entry.id for entry in entries if entry.id]
        ids = [entry.id or self._ids.make() for entry in entries]
        elements = digests.elements(ids, entries, vectors)
        call = "InsertEntries" if request.start == WHOLE else "ImportEntries"

        def write(transaction: Transaction) -> tuple[list[str], Change | None]:
            if (answered := transaction.recall(request)) is not None:
                return answered, None
            transaction.check_start(request)
            existing = transaction.look_up(given) if given else {}
            if existing and not replace_existing:
                raise EntriesExist(list(existing))
            transaction.delete([known.key for known in existing.values()])
            keys = transaction.next_keys(len(entries))
            transaction.insert(keys, ids, entries, vectors, now(), elements)
            transaction.keep(request, ids)
            transaction.log(call, len(ids), request.principal)
            labels = [entry.label for entry in entries]
            return ids, Change(list(existing), Added(keys, ids, labels, vectors))

        return self._writer.do(write)

    def delete(
        self, ids: Sequence[str], *, allow_missing: bool = False, request: Request = WITHOUT_ID
    ) -> list[str]:
        """Delete these entries; return the ids that were stored.

        Raises UnknownEntries, unless ``allow_missing``, RequestReused, NotWritten.
        """

        def write(transaction: Transaction) -> tuple[list[str], Change | None]:
            if (answered := transaction.recall(request)) is not None:
                return answered, None
            known = transaction.look_up(ids)
            if not allow_missing:
                check_known(ids, known)
            return forget(transaction, known, "DeleteEntries", request)

        return self._writer.do(write, frees=True)

    def purge(self, filter: Filter, *, request: Request = WITHOUT_ID) -> list[str]:
        """Delete what ``filter`` admits; return the ids, ascending. Raises RequestReused."""

        def write(transaction: Transaction) -> tuple[list[str], Change | None]:
            if (answered := transaction.recall(request)) is not None:
                return answered, None
            known = transaction.look_up(transaction.ids(filter))
            return forget(transaction, known, "PurgeEntries", request)

        return self._writer.do(write, frees=True)

    def would_purge(self, filter: Filter) -> list[str]:
        """Return the ids that ``purge`` would delete now."""
        with self._reading_file():
            return self._store.ids(filter)

    def update(
        self,
        id: str,
        *,
        label: str | None = None,
        metadata: Mapping[str, str] | None = None,
        request: Request = WITHOUT_ID,
    ) -> Entry:
        """Set label, metadata or both of one entry; return the entry without its vector.

        A repeated request changes nothing, and returns the entry as it is by then. Raises
        UnknownEntries, DeletedSince, RequestReused, NotWritten.
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
            transaction.update(transaction.look_up([id])[id].key, changed)
            transaction.keep(request, [id])
            transaction.log("UpdateEntry", 1, request.principal)
            return changed, Change(relabelled={id: changed.label})

        return self._writer.do(write)

    def begin(self, kind: str, *, request: Request = WITHOUT_ID) -> StartedOperation:
        """Start a long operation; a repeated request returns the one that it started.

        Raises RequestReused, NotWritten.
        """

        def write(transaction: Transaction) -> tuple[StartedOperation, None]:
            answered = transaction.recall(request)
            if answered is not None:
                return StartedOperation(transaction.operation(answered[0]), again=True), None
            name = self._new_operation(transaction, kind, request)
            transaction.keep(request, [name])
            return StartedOperation(transaction.operation(name), again=False), None

        return self._writer.do(write)

    def end(
        self,
        name: str,
        state: State,
        *,
        result: str | None = None,
        problem: str | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        call: str = "",
    ) -> Operation:
        """End an operation that changes no entry, and store ``settings`` that ``call`` sets.

        Raises NotWritten for one that is done; another's end is kept in RAM then.
        """

        def write(transaction: Transaction) -> tuple[Operation, None]:
            transaction.end(name, state, result=result, problem=problem)
            ended = transaction.operation(name)
            for setting, value in settings.items():
                transaction.keep_setting(setting, value)
                transaction.log(call, 0, ended.principal)
            return ended, None

        try:
            ended = self._writer.do(write)
        except NotWritten:
            if state == "done":
                raise
            return self._remember(self._store.operation(name), state, problem)
        self._read_settings()
        return ended

    def put_off(self, operation: Operation, problem: str) -> None:
        """Report an unlearning as failed until the memory closes; the next start resumes it."""
        self._remember(operation, "failed", problem)

    def _remember(self, operation: Operation, state: State, problem: str | None) -> Operation:
        ended = replace(operation, state=state, problem=problem, ended_at=now())
        self._unwritten[operation.name] = ended
        return ended

    def labels(self) -> list[str]:
        """Return the labels of the voting entries, in byte order."""
        with self._lock.reading():
            return sorted(self._ram_to_read().label_counts)

    def setting(self, name: str) -> str | None:
        """Return a setting of the memory, such as its taxonomy, or None."""
        return self._settings.get(name)

    def keep_setting(
        self, name: str, value: str, *, call: str, request: Request = WITHOUT_ID
    ) -> None:
        """Store a setting, as ``call``; a repeated request does nothing.

        Raises RequestReused, NotWritten.
        """

        def write(transaction: Transaction) -> tuple[None, None]:
            if transaction.recall(request) is None:
                transaction.keep_setting(name, value)
                transaction.keep(request, [])
                transaction.log(call, 0, request.principal)
            return None, None

        self._writer.do(write)
        self._read_settings()

    @property
    def revision(self) -> int:
        """Number of changes of its entries so far."""
        return self._ram.revision

    def operation(self, name: str) -> Operation:
        """Return one operation. Raises UnknownOperation."""
        with self._reading_file():
            return self._unwritten.get(name) or self._store.operation(name)

    def operations(self, *, before: str = "", limit: int) -> list[Operation]:
        """Return up to ``limit`` operations below the name ``before``, the newest first."""
        with self._reading_file():
            stored = self._store.operations(before=before, limit=limit)
            return [self._unwritten.get(each.name, each) for each in stored]

    def prune(
        self,
        ids: Sequence[str],
        *,
        operation: str,
        result: Callable[[list[str]], str],
        snapshot: RamCopy | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Operation:
        """Take the votes of ``ids``, and end the operation with ``result`` of the pruned ids.

        Entries chosen in a ``snapshot`` are left out unless they still vote with the vector and the
        label that they had there; without one all must vote. ``check`` is called first, and may
        raise. Raises UnknownEntries, NotWritten.
        """

        def write(transaction: Transaction) -> tuple[Operation, Change]:
            check()
            voting = {id: known for id, known in transaction.look_up(ids).items() if known.votes}
            if snapshot is None:
                check_known(ids, voting)
            else:
                voting = {id: each for id, each in voting.items() if snapshot.has(id, *each[:2])}
            pruned = list(voting)
            transaction.prune([known.key for known in voting.values()], operation)
            transaction.end(operation, "done", result=result(pruned))
            ended = transaction.operation(operation)
            transaction.log("PruneEntries", len(pruned), ended.principal)
            return ended, Change(pruned=pruned)

        return self._writer.do(write)

    def relabel(
        self,
        labels: Mapping[str, str],
        *,
        result: Callable[[list[str]], str],
        request: Request = WITHOUT_ID,
    ) -> Operation:
        """Set the label of each id, as an operation that can be undone.

        Its ``result`` is made of the ids whose labels changed. Raises UnknownEntries,
        RequestReused, NotWritten.
        """

        def write(transaction: Transaction) -> tuple[Operation, Change | None]:
            answered = transaction.recall(request)
            if answered is not None:
                return transaction.operation(answered[0]), None
            known = transaction.look_up(labels)
            check_known(sorted(labels), known)
            changed = {id: labels[id] for id, each in known.items() if each.label != labels[id]}
            name = self._new_operation(transaction, "relabel", request)
            transaction.relabel([(known[id].key, label) for id, label in changed.items()], name)
            transaction.end(name, "done", result=result(sorted(changed)))
            transaction.keep(request, [name])
            transaction.log("RelabelEntries", len(changed), request.principal)
            change = Change(relabelled=changed) if changed else None
            return transaction.operation(name), change

        return self._writer.do(write)

    def would_relabel(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return the part of ``labels`` that differs from now. Raises UnknownEntries."""
        with self._lock.reading():
            self._check_open()
            unknown = [id for id in labels if id not in self._ram]
            if unknown:
                raise UnknownEntries(sorted(unknown))
            return {id: label for id, label in labels.items() if self._ram.label(id) != label}

    def undo(self, name: str, *, request: Request = WITHOUT_ID) -> list[str]:
        """Undo an operation; return the ids.

        Entries that a prune marked and that are still stored vote again; labels before a relabel
        come back where nothing has set them since. Raises UnknownOperation, NotUndoable,
        RequestReused, NotWritten.
        """

        def write(transaction: Transaction) -> tuple[list[str], Change | None]:
            if (answered := transaction.recall(request)) is not None:
                return answered, None
            operation = self._unwritten.get(name) or transaction.operation(name)
            check_undoable(operation)
            transaction.mark_undone(name)
            if operation.kind == "prune":
                rows = transaction.unprune(name, self.identity.dimension)
                ids = list(rows.ids)
                change = Change(ids, Added(rows.keys, ids, rows.labels, rows.vectors))
            else:
                labels = transaction.unrelabel(name)
                ids, change = list(labels), Change(relabelled=labels)
            transaction.keep(request, ids)
            transaction.log("Undo", len(ids), request.principal)
            return ids, change

        return self._writer.do(write)

    def would_unlearn(self, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Split ``ids`` into stored and unknown ones. Raises TooManyIds."""
        unlearn.check_count(ids)
        with self._lock.reading():
            self._check_open()
            known = [id for id in dict.fromkeys(ids) if id in self._ram]
            return known, [id for id in dict.fromkeys(ids) if id not in self._ram]

    def begin_unlearning(
        self,
        ids: Sequence[str],
        *,
        allow_missing: bool,
        none: Callable[[], str] = lambda: "{}",
        request: Request = WITHOUT_ID,
    ) -> StartedOperation:
        """Start the operation that erases these entries, also after a restart.

        Where no id is stored, it is done, with the result of ``none``, which may be called twice.
        Raises UnknownEntries, unless ``allow_missing``, TooManyIds, RequestReused,
        NotWritten.
        """
        unlearn.check_count(ids)

        def write(transaction: Transaction) -> tuple[StartedOperation, None]:
            answered = transaction.recall(request)
            if answered is not None:
                return StartedOperation(transaction.operation(answered[0]), again=True), None
            known = transaction.look_up(ids)
            if not allow_missing:
                check_known(ids, known)
            name = self._new_operation(transaction, UNLEARN, request)
            if known:
                transaction.note_ids_to_unlearn(name, ids)
            else:
                transaction.end(name, "done", result=none())
            transaction.keep(request, [name])
            return StartedOperation(transaction.operation(name), again=False), None

        return self._writer.do(write, frees=True)

    def unfinished(self) -> list[Operation]:
        """Return unlearn operations that are not done, the oldest first."""
        with self._reading_file():
            return [each for each in self._store.unfinished() if each.kind == UNLEARN]

    def ids_to_unlearn(self, operation: str) -> list[str]:
        """Return the ids that an operation has still to erase, ascending."""
        with self._reading_file():
            return self._store.ids_to_unlearn(operation)

    def unlearn(
        self,
        operation: str,
        *,
        none: Callable[[], str] = lambda: "{}",
        settings: Iterable[str],
        draft: Callable[[Facts], str],
    ) -> ResiduePatterns | None:
        """Delete the entries of an operation that ``begin_unlearning`` began; see ``erase``.

        Return None where that was done before a restart, so that there are no patterns any more.
        Where none of them is stored any more, too: it is done then, with the result of ``none``.
        """

        def write(transaction: Transaction) -> tuple[ResiduePatterns | None, Change | None]:
            begun = transaction.operation(operation)
            if begun.result is not None:
                return None, None
            if not transaction.look_up(transaction.ids_to_unlearn(operation)):
                transaction.end(operation, "done", result=none())
                return None, None
            return unlearn.erase(transaction, begun, settings, draft)

        patterns = self._writer.do(write, frees=True)
        with self._lock.writing():
            self._check_open()
            self._counting.forget()
            for name, ended in [*self._unwritten.items()]:
                if ended.problem:  # it may name them
                    self._unwritten[name] = replace(ended, problem=GONE)
        self._read_settings()
        return patterns

    def erase_file(
        self,
        patterns: ResiduePatterns | None,
        beside: Sequence[int] = (),
        there: Callable[[ResiduePatterns], frozenset[bytes]] = lambda patterns: frozenset(),
    ) -> Findings | None:
        """Remove residues of erased entries from the file; search it and the files ``beside`` it.

        Pieces of ``patterns`` that ``there`` returns, or that stored entries have, are no residues.
        Without patterns the file is rewritten in any case. Return None where a reader holds the
        write-ahead log: then it has to be tried again. Raises NotWritten.
        """
        files = (*self._files.descriptors(), *beside)
        if not self._cut_log():  # or what is written anew would only make it longer
            return None
        if patterns is not None:
            searched = self._look_for(files, patterns, there)
            if not searched.found:
                return searched
        with self._writer.turn:
            self._check_open()
            self._files.rewrite()
        if not self._cut_log():
            return None
        return self._look_for(files, patterns or ResiduePatterns(()), there)

    def _cut_log(self) -> bool:
        with self._long_reads.writing(CUT_SECONDS) as free:
            if not free:
                return False
            with self._writer.turn, self._file_reads.writing(), self._lock.writing():
                self._check_open()
                return self._files.truncate_log()

    def _look_for(
        self,
        files: Iterable[int],
        patterns: ResiduePatterns,
        there: Callable[[ResiduePatterns], frozenset[bytes]],
    ) -> Findings:
        searched = search_files(files, patterns)
        if not searched.found:
            return searched
        pieces = there(patterns) | self.pieces_of(patterns)
        return replace(searched, found=unexplained(searched.found, pieces))

    def pieces_of(self, patterns: ResiduePatterns) -> frozenset[bytes]:
        """Return pieces of ``patterns``, masked, that stored entries, settings and names have."""
        self._check_open()
        return self._files.found_in(patterns)

    def sought(self, ids: Sequence[str]) -> Sought:
        """Return the stored ones of ``ids`` in a form that can be found in any memory."""
        self._check_open()
        return self._store.sought(ids)

    def holds(self, sought: Sought, *, without: Sequence[str] = ()) -> bool:
        """Return True if an entry is one of ``sought``; see ``Store``."""
        self._check_open()
        return self._store.holds(sought, without=without)

    def backups(self) -> list[int]:
        """Return the times of its backups, in microseconds since 1970."""
        with self._reading_file():
            return self._store.backups()

    def renew_connections(self) -> None:
        """Open connections to the file anew: their buffers may hold what was deleted."""
        with self._writer.turn:
            self._check_open()
            self._files.renew_connections()

    def audit_events(self, first: int = 0, *, limit: int) -> AuditPage:
        """Return up to ``limit`` audit events from number ``first`` on. Raises BadAuditLog."""
        with self._reading_file(), audit.name_memory(self.identity.name):
            return self._store.audit_events(first, limit)

    def check(self, on_progress: Progress = lambda done, total: None) -> Checked:
        """Compare the file, as it is now, with its digest, its audit log and what is in RAM.

        Others go on meanwhile, but the log of the file grows until this ends. ``on_progress`` is
        called now and then. Raises CorruptStore, BadAuditLog, CorruptCopy, and what ``on_progress``
        raises.
        """

        def in_ram(entries: Sequence[StoredEntry]) -> bool:
            with self._lock.reading():
                return has_vectors(self._ram_to_read(), entries)

        def on(done: int, total: int) -> None:
            self._check_open()
            on_progress(done, total)

        with self._long_reads.reading(), ExitStack() as reading:
            with self._writer.turn, self._lock.reading():  # RAM then follows the file
                listed = Listed(self._ram_to_read())
                contents = reading.enter_context(self._store.contents())
            name, kind = self.identity.name, self.identity.kind
            return check(contents, name, kind, listed, in_ram, on)

    def entry(self, id: str, parts: Parts = Parts.NONE) -> Entry:
        """Return one entry. Raises UnknownEntries."""
        with self._reading_file():
            entry = self._store.entry(id, parts)
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
        """Return up to ``limit`` entries with ids beyond ``after``, by id in byte order.

        They have at most ``bytes_max`` together, unless the first alone exceeds it.
        """
        with self._reading_file():
            return self._store.entries(
                filter=filter, after=after, limit=limit, bytes_max=bytes_max, parts=parts
            )

    def images(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Map id to image for the given ids; ids without one are absent."""
        with self._reading_file():
            return self._store.images(ids, "image")

    def thumbnails(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Map id to thumbnail for the given ids; ids without one are absent."""
        with self._reading_file():
            return self._store.images(ids, "thumbnail")

    def misleading_counts(
        self,
        k: int,
        on_progress: Progress = unreported,
        *,
        snapshot: RamCopy | None = None,
    ) -> Counts:
        """Count how often each entry misleads others, for k ≥ 1, now or in a ``snapshot``.

        ``on_progress`` is called now and then. Raises MemoryClosed, and what ``on_progress``
        raises.
        """
        if snapshot is not None:
            return self._counting.count_in(k, snapshot, on_progress)
        return self._counting.get(k, on_progress, lambda ram: None)[0]

    def knows_counts(self, k: int) -> bool:
        """Return True if ``misleading_counts`` takes about a second at most."""
        with self._lock.reading():
            return self._counting.is_quick(k)

    def votes(self, id: str) -> bool:
        """Return True if an entry of this id is stored and not pruned."""
        with self._lock.reading():
            return self._ram_to_read().votes(id)

    def ranking(self, query: NDArray[np.float32]) -> Neighbors:
        """Return all voting entries by distance to one query (1, d). Raises WrongDimension."""
        self.check_dimension(query)
        with self._lock.reading():
            return self._ram_to_read().ranking(query)

    @contextmanager
    def copying(
        self,
        target: Path,
        check: Callable[[], None],
        begin: Callable[[Transaction], None] = lambda transaction: None,
    ) -> Iterator[Replica]:
        """Make a new file at ``target``, to be written with all that is stored at this moment.

        ``begin`` is called first, in a transaction of its own; no other write comes between.
        ``check`` is called all the time, and may raise.

        Raises CorruptStore, BadAuditLog, NotWritten.
        """

        def go_on() -> None:
            self._check_open()
            check()

        with self._long_reads.reading(), ExitStack() as copying:
            with self._writer.turn:  # or it could be dropped while its file is opened
                self._check_open()
                replica = copying.enter_context(Replica(self.path, target, go_on))
                with self._store.transaction() as transaction:
                    begin(transaction)
                replica.begin()
            yield replica

    def ids(self) -> list[str]:
        """Return the ids of all stored entries, in no order."""
        with self._lock.reading():
            ram = self._ram_to_read()
            return [*ram.columns()[0].tolist(), *ram.pruned]

    def snapshot(self) -> RamCopy:
        """Return a copy of the voting entries now, for work that takes long."""
        with self._lock.reading():
            return self._ram_to_read().without()

    def _ram_to_read(self) -> RamCopy:
        self._check_open()
        return self._ram

    def nearest(self, queries: Sequence[Query]) -> list[Neighbors]:
        """Return for each query the k nearest entries it admits; fewer where fewer are there.

        The queries without a filter are searched together. Raises MemoryClosed.
        """
        answers = {
            k: iter(self._nearest([query for query in queries if query.counts_k == k], k))
            for k in {query.counts_k for query in queries}
        }
        return [next(answers[query.counts_k]) for query in queries]

    def _nearest(self, queries: Sequence[Query], counts_k: int | None) -> list[Neighbors]:
        """Search for queries that all have this ``counts_k``."""
        counts, found = None, None
        while found is None:
            if counts_k is None:
                with self._lock.reading():
                    found = search(queries, self._ram_to_read(), self._store)
            else:
                counts, found = self._counting.get(
                    counts_k, unreported, lambda ram: search(queries, ram, self._store)
                )
        return [replace(each, v=counts.v[rows] if counts else None) for each, rows in found]

    def _new_operation(self, transaction: Transaction, kind: str, request: Request) -> str:
        name = f"{self.identity.name}/{self._operation_ids.make()}"
        transaction.begin(name, kind, request.principal)
        return name

    def _prepare(self, changes: Sequence[Change]) -> None:
        """Reserve room in RAM for what is about to be committed: the part that can fail."""
        self._ram.reserve(sum(len(each.added.ids) for each in changes if each.added))

    def _publish(self, changes: Sequence[Change]) -> None:
        """Let readers see what was committed; where that fails, read it all from the store.

        Where that fails, too, all calls are refused from then on.
        """
        with self._lock.writing():
            try:
                for change in changes:
                    self._ram.apply(change)
                    self._digest = change.digest
            except BaseException:
                self._load_anew()
                raise

    def _load_anew(self) -> None:
        try:
            self._load()
        except BaseException:
            self._behind = True
            self._lost(CorruptCopy(self.identity.name))
            raise

    @contextmanager
    def _reading_file(self) -> Iterator[None]:
        """Keep the file open and its log uncut meanwhile."""
        with self._file_reads.reading():
            self._check_open()
            yield

    def _read_settings(self) -> None:
        with self._reading_settings, self._reading_file():
            self._settings = self._store.settings()

    def _load(self) -> None:
        ram = self._ram = RamCopy(self.identity.dimension, self._indexes)
        self._digest = self._store.digest()
        for key, id, label in self._store.pruned():
            ram.silence([id], [key], [label])
        for rows in self._store.rows(self.identity.dimension):
            ram.add(rows.keys, rows.ids, rows.labels, rows.vectors)
            ram.revision = rows.revision

    def _check_open(self) -> None:
        if self._closed:
            raise MemoryClosed(self.identity.name)
        if self._behind:
            raise CorruptCopy(self.identity.name)


def check_known(ids: Iterable[str], known: Mapping[str, Known]) -> None:
    """Check that all ``ids`` are known. Raises UnknownEntries."""
    unknown = [id for id in dict.fromkeys(ids) if id not in known]
    if unknown:
        raise UnknownEntries(unknown)


def forget(
    transaction: Transaction, known: Mapping[str, Known], call: str, request: Request
) -> tuple[list[str], Change]:
    """Delete these entries; return their ids and the change."""
    ids = list(known)
    transaction.delete([each.key for each in known.values()])
    transaction.keep(request, ids)
    transaction.log(call, len(ids), request.principal)
    return ids, Change(ids)


def check_undoable(operation: Operation) -> None:
    """Check that an operation can be undone. Raises NotUndoable."""
    if operation.undone_at is not None:
        raise NotUndoable(operation.name, "it was undone before")
    if operation.kind not in UNDOABLE or operation.state != "done":
        raise NotUndoable(operation.name, f"it is a {operation.kind} that is {operation.state}")
