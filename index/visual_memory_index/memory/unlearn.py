"""Erasing entries from a memory, with facts for the certificate and patterns for the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from visual_memory_index.curation.misleading_counts import MisleadingCountsCache
from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.erasure.search import Findings, search_files, unexplained
from visual_memory_index.errors import TooManyIds, UnknownEntries
from visual_memory_index.memory.engine import Engine
from visual_memory_index.memory.operations import Operations, StartedOperation
from visual_memory_index.ram.change import Change
from visual_memory_index.records.operation import UNLEARN, Operation
from visual_memory_index.records.request import WITHOUT_ID, Request
from visual_memory_index.records.steps import distinct
from visual_memory_index.store.store import Sought, Transaction
from visual_memory_index.store.stored_files import SearchableTransaction

UNLEARNED_MAX = 1_000_000  # ids at once
LEFT_BYTES_MAX = 1 << 29  # of vectors and pictures to search for
TRACED_MAX = 4096  # vectors of which what the index makes is searched for, too
CODES_AT_ONCE = 4096  # rows
SAMPLE_IMAGES, HEADER_BYTES = 32, 1 << 18  # the headers of remaining pictures are no residue
CUT_SECONDS = 1.0  # to wait for checks and copies; later ones wait meanwhile


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of an erasure that are final before the search for residues.

    Times are in microseconds since 1970. ``audit_index`` and ``audit_event`` are the number and
    hash of the erasure's event in the audit log, ``audit_root`` is the log's root up to that event.
    ``backups`` are the times of the backups made before the erasure.
    """

    ids: Sequence[str]
    time: int
    digest_before: str
    digest_after: str
    audit_index: int
    audit_event: str
    audit_root: str
    backups: Sequence[int]


class Erased(NamedTuple):
    """The arguments of ``ResiduePatterns``: bytes of erased entries, and some that are no residue.

    ``headers`` are the first bytes of pictures of entries that stay. Patterns are made of them
    after the transaction, since it takes long.
    """

    texts: Iterable[str] = ()
    vectors: Sequence[bytes] = ()
    pictures: Sequence[bytes] = ()
    headers: Sequence[bytes] = ()


class Unlearning:
    """Unlearns entries of a memory, and removes their residue from its file."""

    def __init__(
        self, engine: Engine, operations: Operations, counting: MisleadingCountsCache
    ) -> None:
        self._engine, self._operations, self._counting = engine, operations, counting
        self._erased = dict[str, Erased]()  # by operation, until it has patterns
        self._patterns = dict[str, ResiduePatterns]()  # by operation that has not ended

    def preview(self, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Split ``ids`` into stored and unknown ids. Raises TooManyIds."""
        check_count(ids)
        asked = distinct(ids)
        with self._engine.reading_ram() as ram:
            labels = ram.labels_of(asked)
        known = [id for id, label in zip(asked, labels, strict=True) if label is not None]
        return known, [id for id, label in zip(asked, labels, strict=True) if label is None]

    def begin(
        self,
        ids: Sequence[str],
        *,
        allow_missing: bool,
        none: Callable[[], str] = lambda: "{}",
        request: Request = WITHOUT_ID,
    ) -> StartedOperation:
        """Start the operation that erases these entries, and is resumed after a restart.

        If no id is stored, the operation is done at once. Its result is then the JSON text that
        ``none`` makes, which may be called twice. Raises UnknownEntries, unless ``allow_missing``,
        TooManyIds, RequestReused, FileUnavailable.
        """
        check_count(ids)

        def write(transaction: Transaction) -> tuple[str, None]:
            known, unknown = transaction.look_up(ids)
            if unknown and not allow_missing:
                raise UnknownEntries(unknown)
            name = self._operations.new(transaction, UNLEARN, request)
            if len(known.keys):
                transaction.note_ids_to_unlearn(name, ids)
            else:
                transaction.end(name, "done", result=none())
            return name, None

        return self._operations.start(request, write, frees=True)

    def ids(self, operation: str) -> list[str]:
        """Return the ids that an operation still has to erase, ascending."""
        with self._engine.reading_file() as store:
            return store.ids_to_unlearn(operation)

    def erase(
        self,
        operation: str,
        *,
        none: Callable[[], str] = lambda: "{}",
        settings: Iterable[str],
        draft: Callable[[Facts], str],
    ) -> ResiduePatterns | None:
        """Delete the entries of an operation that ``begin`` began; see the function ``erase``.

        Return patterns of their bytes, the same if called again until ``forget``, also after an
        error, or None if these are unknown, since this operation deleted the entries before a
        restart. If others deleted the entries, the ids are erased nevertheless: the patterns are of
        them alone, and the later result is the JSON text that ``none`` makes.
        """

        def write(transaction: Transaction) -> tuple[None, Change | None]:
            begun = transaction.operation(operation)
            if begun.result is not None:
                return None, None
            self._operations.write_ends_in(transaction)  # which is scrubbed of the ids, then
            noted = transaction.ids_to_unlearn(operation)
            if len(transaction.look_up(noted)[0].keys):
                self._erased[operation], change = erase(transaction, begun, settings, draft)
                return None, change
            transaction.scrub(operation, (), ())
            transaction.draft(operation, none())
            self._erased[operation] = Erased(noted)
            return None, None

        if operation not in self._patterns:
            self._engine.writer.do(write, frees=True)  # which may fail after the commit, too
            if (erased := self._erased.get(operation)) is not None:
                self._patterns[operation] = ResiduePatterns(*self._with_traces(erased))
                del self._erased[operation]
        with self._engine.changing_ram():
            self._counting.forget()
            self._operations.drop_problems()
        self._engine.read_settings()
        return self._patterns.get(operation)

    def _with_traces(self, erased: Erased) -> Erased:
        """Add what the index made of the erased vectors, of some if they are very many."""
        some = b"".join(erased.vectors[:TRACED_MAX])
        rows = np.frombuffer(some, "<f4").astype(np.float32, copy=False)
        vectors = rows.reshape(-1, self._engine.identity.dimension)
        traces = self._engine.ram.vectors.traces(vectors)
        return erased._replace(vectors=[*erased.vectors, *traces])

    def forget(self, operation: str) -> None:
        """Drop the patterns of an operation that has ended, and what they were to be made of."""
        self._patterns.pop(operation, None)
        self._erased.pop(operation, None)

    def erase_file(
        self,
        patterns: ResiduePatterns | None,
        beside: Sequence[int] = (),
        there: Callable[[ResiduePatterns], frozenset[bytes]] = lambda patterns: frozenset(),
    ) -> Findings | None:
        """Search the memory's file for residue of ``patterns``; rewrite the file if some is found.

        Open file descriptors ``beside`` are searched, too. Pieces that stored entries have, or that
        ``there(patterns)`` returns, are no residue. If ``patterns`` is None, as from ``erase``, the
        file is rewritten in any case. Return the findings of the last search, or None if a reader
        still needs the write-ahead log: then try again later. Raises FileUnavailable.
        """
        files = (*self._engine.files.descriptors(), *beside)
        if not self._cut_log():  # or rewriting the file would only lengthen the log
            return None
        if patterns is not None:
            searched = self._look_for(files, patterns, there)
            if not searched.found:
                return searched
        with self._engine.writer.turn:
            self._engine.check_open()
            self._engine.files.rewrite()
        if not self._cut_log():
            return None
        return self._look_for(files, patterns or ResiduePatterns(()), there)

    def _cut_log(self) -> bool:
        engine = self._engine
        with engine.long_reads.writing(CUT_SECONDS) as free:
            if not free:
                return False
            with (
                engine.writer.turn,
                engine.whole.writing(),  # so that searches wait for no longer reader
                engine.file_reads.writing(),
                engine.lock.writing(),
            ):
                engine.check_open()
                return engine.files.truncate_log()

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
        """Return the pieces of ``patterns`` that occur in what is still stored, or in its codes.

        Pieces are masked, as ``ResiduePatterns.found_in`` returns them.
        """
        found = self._engine.files.found_in(patterns)
        with self._engine.reading_ram() as ram:
            end = len(ram)
        while end > 0:  # backwards: rows move to lower places only
            with self._engine.reading_ram() as ram:
                rows = np.arange(max(0, end - CODES_AT_ONCE), min(end, len(ram)))
                found |= patterns.found_in(ram.vectors.codes(rows).tobytes())
            end -= CODES_AT_ONCE
        return found

    def sought(self, ids: Sequence[str]) -> Sought:
        """Return ids and content hashes of the ``ids`` that are stored, to find them elsewhere."""
        self._engine.check_open()
        return self._engine.store.sought(ids)

    def holds(self, sought: Sought, *, without: Sequence[str] = ()) -> bool:
        """Return True if an entry is one of ``sought`` or has its content; see ``Store.holds``."""
        self._engine.check_open()
        return self._engine.store.holds(sought, without=without)

    def backups(self) -> list[int]:
        """Return the times of the memory's backups, in microseconds since 1970."""
        with self._engine.reading_file() as store:
            return store.backups()

    def drop_caches(self) -> None:
        """Replace all connections to the file and drop stale counts: both may hold deleted data.

        Kept filters are dropped, too: they may name what was deleted.
        """
        self._counting.drop_stale()
        with self._engine.reading_ram() as ram:
            ram.answers.clear()
        with self._engine.writer.turn:
            self._engine.check_open()
            self._engine.files.renew_connections()


def check_count(ids: Sequence[str]) -> None:
    """Check that there are not too many ids to unlearn at once. Raises TooManyIds."""
    if len(ids) > UNLEARNED_MAX:
        raise TooManyIds(len(ids), UNLEARNED_MAX)


def erase(
    transaction: Transaction,
    operation: Operation,
    settings: Iterable[str],
    draft: Callable[[Facts], str],
) -> tuple[Erased, Change]:
    """Delete the entries that an operation has to erase, and all that names them elsewhere.

    The settings named in ``settings``, which were derived from the entries, are deleted too.
    ``draft`` makes the later result from the facts; it is stored. Return the erased bytes to search
    for, without content that other entries have too, and none if the store has no files to search;
    and the change for the copy in RAM.
    """
    noted = transaction.ids_to_unlearn(operation.name)
    known, _ = transaction.look_up(noted)
    keys = known.keys
    searchable = transaction if isinstance(transaction, SearchableTransaction) else None
    remains = searchable.remains_of(keys, LEFT_BYTES_MAX) if searchable else None
    before = transaction.digest()
    transaction.delete(keys)
    gone = transaction.scrub(operation.name, distinct(known.labels), settings)
    event = transaction.log("UnlearnEntries", len(keys), operation.principal)
    head = transaction.head
    facts = Facts(
        ids=known.ids.tolist(),
        time=event.time,
        digest_before=before,
        digest_after=transaction.digest(),
        audit_index=head.size - 1,
        audit_event=head.last,
        audit_root=head.root(),
        backups=transaction.backups(),
    )
    transaction.draft(operation.name, draft(facts))
    change = Change(keys)
    if searchable is None or remains is None:
        return Erased(), change
    same_content = searchable.same_content(hash for hash, *_ in remains.contents)
    alone = [each for each in remains.contents if each[:2] not in same_content]
    vectors = [vector for _, vector, _ in alone]
    pictures = [picture for _, _, pictures in alone for picture in pictures]
    headers = [*searchable.sample_images(SAMPLE_IMAGES, HEADER_BYTES)]
    return Erased({*noted, *gone, *remains.texts}, vectors, pictures, headers), change
