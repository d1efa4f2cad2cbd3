"""Unlearning: entries are deleted, residues of them erased and searched for, and certified."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import structlog

from visual_memory.proofs.certificate import Searched, sign
from visual_memory_index import UNLEARN, Memory, Operation, Request, ResiduePatterns
from visual_memory_index.errors import MemoryRefusal
from visual_memory_index.records.entry import now
from visual_memory_service.config import FILES, BadSetting, Erasure, Settings
from visual_memory_service.erasure import process_memory
from visual_memory_service.erasure.residue import erase_files, erase_memory, overwrite_unused
from visual_memory_service.erasure.signing_keys import SigningKeys
from visual_memory_service.erasure.statement import Search, draft, to_statement
from visual_memory_service.errors import NoCertificate
from visual_memory_service.runtime.measures import ERASED_ENTRIES
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Job, Operations, unless_repeated
from visual_memory_service.runtime.served_memory import ServedMemory

log = structlog.get_logger()
UNKNOWN_SHOWN = 100
STEPS = 4  # deleted, erased from files and memory, signed
STOPPED = "What it worked on is being erased; start it again."
ALL_FILES = "the files of the memory and of the catalog"
PROCESS = "the RAM that the server's process can write to"


@dataclass(frozen=True, slots=True)
class UnlearnResult:
    """Result of an unlearning, as UnlearnResult in operation.proto.

    ``certificate`` is JSON, empty if nothing was erased; ``backups`` are times in microseconds
    since 1970.
    """

    count: int
    unknown_count: int
    unknown_ids: Sequence[str]
    applied: bool
    certificate: str = ""
    also_in: Sequence[str] = ()
    not_asked: Sequence[str] = ()
    backups: Sequence[int] = ()


@dataclass(frozen=True, slots=True, eq=False)
class UnlearningWork:
    """Starts erasures, and resumes erasures that a restart interrupted.

    ``renew``, called only to erase from RAM, begins to close all connections, whose buffers may
    hold erased data. The future that it returns is done once they are closed, or has BadSetting if
    no second server can listen. ``go_on`` resumes other operations of a memory that an erasure has
    interrupted.
    """

    memories: Memories
    operations: Operations
    keys: SigningKeys
    renew: Callable[[], Future[None]]
    settings: Settings
    go_on: Callable[[str], None] = lambda name: None

    @property
    def erasure(self) -> Erasure:
        """Return the places that entries are erased from: as set, or files if there is no /proc."""
        return self.settings.erasure if process_memory.searchable() else FILES

    def begin(
        self, ids: Sequence[str], served: ServedMemory, *, allow_missing: bool, request: Request
    ) -> Operation:
        """Start an erasure and return its operation.

        If none of the ids is stored, the operation is done at once; a repeated request returns the
        earlier operation. Raises UnknownEntries if an id is not stored and ``allow_missing`` is
        False, TooManyIds, TooManyOperations, RequestReused, FileUnavailable.
        """
        name = served.memory.identity.name
        unless_repeated(lambda: self.operations.check_room(name), request, served.memory)

        def none() -> str:
            unknown = list(dict.fromkeys(ids))  # backups may still hold them
            self.memories.catalog.mark_unlearned(served.memory, unknown, None)
            return nothing_erased(unknown)

        started = served.memory.unlearning.begin(
            ids, allow_missing=allow_missing, none=none, request=request
        )
        if not started.again and started.operation.state == "running":
            self._start(started.operation, served)
        return started.operation

    def would_unlearn(self, ids: Sequence[str], served: ServedMemory) -> UnlearnResult:
        """Return the result of a dry run, which erases nothing.

        It counts the stored and unknown ids, and names the memories and backups that would still
        hold the content. Raises TooManyIds.
        """
        memory = served.memory
        known, unknown = memory.unlearning.preview(ids)
        duplicates = self.memories.find_duplicates(memory, known)
        return UnlearnResult(
            len(known),
            len(unknown),
            unknown[:UNKNOWN_SHOWN],
            applied=False,
            **duplicates._asdict(),
            backups=self._backups(memory, memory.unlearning.backups()) if known else (),
        )

    def resume(self, name: str) -> None:
        """Resume a memory's erasures after a restart; if the memory is refused, only log that."""
        self.memories.go_on(name, UNLEARN, self._start)

    def _start(self, operation: Operation, served: ServedMemory) -> None:
        def work(job: Job) -> str | None:
            try:
                return erase(job)
            finally:
                self.go_on(job.memory_name)

        def erase(job: Job) -> str | None:
            with self.memories.checks.paused():
                result = self._unlearn(job, served)
            if self.erasure != FILES:  # the search leaves pieces of what it looked for
                try:
                    overwrite_unused(self.memories)
                # What was certified holds all the same.
                except (MemoryError, OSError, MemoryRefusal) as error:
                    log.warning("pieces not overwritten", operation=job.name, problem=repr(error))
            served.memory.unlearning.forget(job.name)
            return result

        self.operations.resume(served.memory, operation, work)

    def _unlearn(self, job: Job, served: ServedMemory) -> str:
        """Erase, search and certify; return the result as JSON.

        It has no certificate if others had deleted all of the entries, so that only their ids were
        erased. Raises Cancelled if the server stops: the next start resumes the erasure.
        """
        began, memory = time.perf_counter(), served.memory
        job.report_progress(0, STEPS)
        patterns = self._delete(job, memory)
        job.retry_while(lambda: self.memories.note(memory))
        noted = job.retry_while(lambda: memory.operations.get(job.name))
        served.read.clear()
        note_step(job, "deleted", began)
        search = self._erase(job, memory, patterns, began)
        drafted = json.loads(noted.result or "{}")
        if "salt" not in drafted:
            return noted.result or ""
        result = job.retry_while(lambda: self._certified(job, memory, drafted, search, patterns))
        ERASED_ENTRIES.add(json.loads(result)["count"])
        return result

    def _certified(
        self,
        job: Job,
        memory: Memory,
        drafted: dict[str, Any],
        search: Search,
        patterns: ResiduePatterns | None,
    ) -> str:
        """Sign the statement of an erasure that has ended, and return its result as JSON."""
        statement = to_statement(
            drafted,
            search,
            patterns,
            memory=memory,
            operation=job.name,
            erasure=self.erasure if patterns is not None else FILES,
            ended_at=now(),
            unsearchable=self.memories.indexes.unsearchable,
        )
        result = UnlearnResult(
            count=statement.count,
            unknown_count=drafted["asked"] - statement.count,
            unknown_ids=[],
            applied=True,
            certificate=sign(statement, self.keys.private).to_json(),
            also_in=statement.also_in,
            not_asked=drafted.get("not_asked", ()),  # as before a restart
            backups=drafted["backups"],
        )
        return json.dumps(asdict(result))

    def _delete(self, job: Job, memory: Memory) -> ResiduePatterns | None:
        """Delete the entries; return the byte strings to search for, None if these are unknown.

        The ids must not outlive this frame, or the search of the process would find them. Other
        operations, whose results could name the entries, are suspended meanwhile.
        """
        ids = job.retry_while(lambda: memory.unlearning.ids(job.name))
        asked, nothing = len(ids), nothing_erased(ids)
        if ids:  # first: a copy that is not found yet leaves marked entries out
            job.retry_while(lambda: self.memories.catalog.mark_unlearned(memory, ids, job.name))
        duplicates = job.retry_while(lambda: self.memories.find_duplicates(memory, ids))
        with self.operations.suspend_others(
            memory.identity.name, reason=STOPPED, except_kinds=(UNLEARN,)
        ):
            return job.retry_while(
                lambda: memory.unlearning.erase(
                    job.name,
                    none=lambda: nothing,
                    settings=self.memories.fitted,
                    draft=lambda facts: draft(
                        facts, asked, duplicates, self._backups(memory, facts.backups)
                    ),
                )
            )

    def _backups(self, memory: Memory, logged: Sequence[int]) -> list[int]:
        """Return the times of backups of a memory and its copies, in microseconds since 1970.

        They are those ``logged`` in its audit log, which another server may have made, and those
        recorded in the catalog, which the log of a restored memory or a copy may lack.
        """
        return sorted({*logged, *self.memories.catalog.backups(memory)})

    def _erase(
        self, job: Job, memory: Memory, patterns: ResiduePatterns | None, began: float
    ) -> Search:
        """Erase residues from the files and, if the server is set to do so, from the process.

        ``began`` is the start of the operation by ``time.perf_counter``, for the log.
        """
        searched = erase_files(job, memory, self.memories, patterns)
        note_step(job, "erased from files", began)
        if patterns is None:
            return Search()
        files = Searched(ALL_FILES, searched.size)
        if self.erasure == FILES:
            return Search((files,))

        def close_connections() -> None:
            job.retry_while(lambda: job.wait(self.renew()), against=BadSetting)

        found, also_in = job.retry_while(
            partial(
                erase_memory, job, memory, self.memories, patterns, self.settings, close_connections
            )
        )
        note_step(job, "erased from memory", began)
        clean = (files,) if found.found else (files, Searched(PROCESS, found.size))
        return Search(clean, len(found.found), also_in)


def nothing_erased(ids: Sequence[str]) -> str:
    """Return as JSON the result of an unlearning of ids that are all unknown."""
    return json.dumps(asdict(UnlearnResult(0, len(ids), [], applied=True)))


def certificate_of(memory: Memory, operation: str) -> str:
    """Return the certificate of an operation, as JSON. Raises UnknownOperation, NoCertificate."""
    found = memory.operations.get(operation)
    result: dict[str, Any] = json.loads(found.result) if found.result else {}
    certificate: str = result.get("certificate", "")
    if found.state != "done" or not certificate:
        raise NoCertificate(operation, found.state)
    return certificate


def note_step(job: Job, phase: str, began: float) -> None:
    job.report_progress(job.progress[0] + 1, STEPS)
    log.info(phase, operation=job.name, seconds=round(time.perf_counter() - began, 2))
