"""Unlearning: entries are deleted, what is left of them is erased and looked for, and certified."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import structlog

from visual_memory.proofs.certificate import Searched, Statement, commitment, sign
from visual_memory_index import (
    UNLEARN,
    Facts,
    Findings,
    Memory,
    MemoryRefusal,
    Operation,
    Request,
    Traces,
    clear_scratch,
    in_full,
    unexplained,
)
from visual_memory_service.config import BadSetting
from visual_memory_service.decisions.calibration import SETTING as CALIBRATION
from visual_memory_service.erasure import process_memory
from visual_memory_service.erasure.signing_keys import SigningKeys
from visual_memory_service.errors import NoCertificate
from visual_memory_service.runtime.memories import Elsewhere, Memories, OpenMemory
from visual_memory_service.runtime.operations import Job, Operations, pauses

log = structlog.get_logger()
UNKNOWN_SHOWN = 100
STEPS = 4  # deleted, erased from files and memory, signed
PATIENT_TRIES = 6  # some seconds
TRIES_MAX, RAM_PAUSE = 12, 0.5
STILL_READ = "A backup, a copy or another program reads the file, so its log cannot be cut yet."
STILL_FOUND = "Pieces of what was erased are found in the files again and again."
STOPPED = "What it worked on is being erased; start it again."
FILES = "the files of the memory and of the catalog"
PROCESS = "the RAM that the server's process can write to"
RESTARTED = (
    "The server was restarted in between, so its process was another, and the file was written "
    "anew as a whole instead of being searched for vectors, pictures and texts."
)
NOT_SEARCHED = "On this system the RAM of the server's process was not searched."
STILL_HELD = (
    "In the RAM of the server's process {} traces were found again and again, which other calls "
    "or the program itself may hold; they are gone when the server ends at the latest."
)
NOT_COVERED = (
    "Copies of the entries outside of this memory: other memories, exports, backups, clients, and "
    "the programs that sent or received them.",
    "What the file system and the drive keep of blocks that were given back or moved, and what the "
    "operating system keeps in its own memory and swap space.",
    "What was learned from the entries outside of this memory.",
    "Texts and pieces that entries which stay have, too, such as a label, also of other memories "
    "of the server, and what belongs to no entry and has their texts in it: names of memories, "
    "settings such as a taxonomy, labels that an undo brings back, answers to and ids of requests "
    "of two days, what operations on others answered, ids that another erasure has still to "
    "erase, and words of the program itself.",
    "Texts of fewer than 12 bytes, pieces of vectors and pictures of fewer than 32, and such of "
    "few different bytes or as many have them, which could be there by chance, parts of texts, and "
    "the first quarter of each picture, where headers are, were not looked for; of very many "
    "vectors and pictures, some pieces of each were, and of more than 512 MiB those beyond were "
    "not.",
    "Decoded pictures, and what a network computes of them on the way to their vectors: they are "
    "overwritten when they are freed, which was not looked for, and a library that runs networks, "
    "such as PyTorch for those of timm and open_clip, may keep pieces until the next picture.",
)
NOT_ASKED = (
    "Memories of the server that could not be asked whether they hold the same, such as damaged "
    "ones: {}."
)


@dataclass(frozen=True, slots=True)
class Unlearning:
    """Which entries are to be erased, and whether to do it."""

    ids: Sequence[str]
    allow_missing: bool
    apply: bool
    request: Request | None


@dataclass(frozen=True, slots=True)
class UnlearnResult:
    """See UnlearnResult in operation.proto; ``certificate`` is JSON, empty where not applied.

    ``backups`` are times in microseconds since 1970.
    """

    count: int
    unknown_count: int
    unknown_ids: Sequence[str]
    applied: bool
    certificate: str = ""
    also_in: Sequence[str] = ()
    not_asked: Sequence[str] = ()
    backups: Sequence[int] = ()


class UnlearningWork:
    """Begins erasures, and goes on with those that a restart cut short.

    ``renew`` begins to close all connections, whose buffers hold what came and went; what it gives
    is done once they are closed, or has BadSetting where no others can be made.
    """

    def __init__(
        self,
        memories: Memories,
        operations: Operations,
        keys: SigningKeys,
        renew: Callable[[], Future[None]],
    ) -> None:
        self._memories, self._operations = memories, operations
        self.keys = keys
        self._renew = renew

    def begin(self, unlearning: Unlearning, memory: OpenMemory) -> Operation:
        """Begin to erase entries; a repeated request begins nothing, nor one of unknown ids alone.

        Raises UnknownEntries, unless missing ones are allowed, TooManyIds, RequestReused,
        NotWritten.
        """
        ids = list(dict.fromkeys(unlearning.ids))

        def none() -> str:
            self._memories.bury(memory.memory, ids, None)  # backups may have what was deleted
            return of_none(ids)

        begun = memory.memory.begin_unlearning(
            unlearning.ids,
            allow_missing=unlearning.allow_missing,
            none=none,
            request=unlearning.request,
        )
        if not begun.again and begun.operation.state == "running":
            self._start(begun.operation, memory)
        return begun.operation

    def would_unlearn(self, unlearning: Unlearning, memory: OpenMemory) -> UnlearnResult:
        """What would be erased; what is missing is counted in any case. Raises TooManyIds."""
        known, unknown = memory.memory.would_unlearn(unlearning.ids)
        elsewhere = self._memories.elsewhere(memory.memory, known)
        return UnlearnResult(
            len(known),
            len(unknown),
            unknown[:UNKNOWN_SHOWN],
            applied=False,
            **elsewhere._asdict(),
            backups=memory.memory.backups() if known else (),
        )

    def go_on(self, name: str) -> None:
        """Finish what a restart cut short, of a memory that begins to serve."""
        try:
            memory = self._memories.get(name)
            for operation in memory.memory.unfinished():
                self._start(operation, memory)
        except MemoryRefusal as refusal:  # such as one that was dropped, or found damaged, since
            log.warning("erasures wait for the next start", memory=name, problem=in_full(refusal))

    def _start(self, operation: Operation, memory: OpenMemory) -> None:
        others = partial(
            self._operations.kept_off, memory.memory.identity.name, reason=STOPPED, but=UNLEARN
        )

        def work(job: Job) -> str | None:
            with self._memories.checks.paused():
                return unlearn(job, memory, self._memories, others, self.keys, self._renew)

        self._operations.go_on(memory.memory, operation, work)


def of_none(ids: Sequence[str]) -> str:
    """The result of an unlearning of which no id is stored, as JSON."""
    return json.dumps(asdict(UnlearnResult(0, len(ids), [], applied=True)))


def certificate_of(memory: Memory, operation: str) -> str:
    """The certificate of an operation, as JSON. Raises UnknownOperation, NoCertificate."""
    found = memory.operation(operation)
    certificate = json.loads(found.result).get("certificate") if found.result else None
    if found.state != "done" or not certificate:
        raise NoCertificate(operation, found.state)
    text: str = certificate
    return text


def unlearn(
    job: Job,
    memory: OpenMemory,
    memories: Memories,
    none_of_others: Callable[[], AbstractContextManager[None]],
    keys: SigningKeys,
    renew: Callable[[], Future[None]],
) -> str | None:
    """Erase what the operation is to erase, as often as it takes; its result as JSON.

    None where none of it was there any more, and the operation has ended.

    ``none_of_others`` keeps other operations off meanwhile, whose results could name it.

    Raises Cancelled where the server stops: then it goes on at the next start.
    """
    began = time.perf_counter()
    identity = memory.memory.identity
    ids = job.insist(lambda: memory.memory.erasing(job.name))
    asked, nothing = len(ids), of_none(ids)
    elsewhere = job.insist(lambda: memories.elsewhere(memory.memory, ids))
    if ids:
        job.insist(lambda: memories.bury(memory.memory, ids, job.name))
    with none_of_others():
        traces = job.insist(
            lambda: memory.memory.unlearn(
                job.name,
                none=lambda: nothing,
                settings=(CALIBRATION,),
                draft=lambda facts: draft(facts, asked, elsewhere),
            )
        )
    noted = job.insist(lambda: memory.memory.operation(job.name))
    if noted.state == "done":  # others erased all of them since
        return None
    memory.read.clear()
    memories.note(memory.memory, erased=True)
    told(job, "deleted", began)
    left = 0
    places = []
    drafted = json.loads(noted.result or "{}")
    also_in = drafted.pop("also_in", [])  # as it was before a restart; earlier releases lack it
    not_asked = drafted.pop("not_asked", [])
    searched = erase_files(job, memory, memories, traces)
    told(job, "erased from files", began)
    if traces is not None:
        places.append(Searched(FILES, searched.size))
        if process_memory.searchable():
            del ids
            job.insist(lambda: job.wait(renew()), against=BadSetting)
            searched, holding = job.insist(partial(erase_ram, job, memory, memories, traces))
            also_in = sorted({*also_in, *holding})
            left = len(searched.found)
            if not left:
                places.append(Searched(PROCESS, searched.size))
            told(job, "erased from memory", began)
    statement = Statement(
        memory=identity.name,
        memory_uid=identity.uid,
        dimension=identity.dimension,
        embedder=identity.embedder or "",
        server=version("visual-memory"),
        operation=job.name,
        looked_for=traces.count if traces is not None else 0,
        searched=tuple(places),
        also_in=tuple(also_in),
        not_covered=not_covered(traces, left, not_asked),
        **to_statement(drafted),
    )
    result = {
        "count": statement.count,
        "unknown_count": drafted["asked"] - statement.count,
        "unknown_ids": [],
        "applied": True,
        "certificate": sign(statement, keys.private).to_json(),
        "also_in": also_in,
        "not_asked": not_asked,
        "backups": drafted["backups"],
    }
    return json.dumps(result)


def told(job: Job, phase: str, began: float) -> None:
    job.told(job.done + 1, STEPS)
    log.info(phase, operation=job.name, seconds=round(time.perf_counter() - began, 2))


def draft(facts: Facts, asked: int, elsewhere: Elsewhere) -> str:
    """What is known once the entries are deleted, without their ids, as JSON."""
    salt = secrets.token_hex(32)
    return json.dumps(
        {
            "asked": asked,
            "time": facts.time,
            "count": len(facts.ids),
            "salt": salt,
            "commitments": sorted(commitment(salt, id) for id in facts.ids),
            "digest_before": facts.digest_before,
            "digest_after": facts.digest_after,
            "audit_index": facts.audit_index,
            "audit_event": facts.audit_event,
            "audit_root": facts.audit_root,
            "backups": list(facts.backups),
            **elsewhere._asdict(),
        }
    )


def to_statement(drafted: dict[str, Any]) -> dict[str, Any]:
    """What ``draft`` kept, as a certificate says it."""
    kept = {name: value for name, value in drafted.items() if name != "asked"}
    kept["time"] = to_time(drafted["time"])
    kept["backups"] = tuple(map(to_time, drafted["backups"]))
    kept["commitments"] = tuple(drafted["commitments"])
    return kept


def to_time(microseconds: int) -> datetime:
    """Whole seconds, UTC."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC)


def not_covered(traces: Traces | None, left: int, not_asked: Sequence[str]) -> tuple[str, ...]:
    """What a certificate does not promise."""
    said = [*NOT_COVERED]
    if not_asked:
        said.append(NOT_ASKED.format(", ".join(not_asked)))
    if traces is None:
        said.append(RESTARTED)
    elif left:
        said.append(STILL_HELD.format(left))
    elif not process_memory.searchable():
        said.append(NOT_SEARCHED)
    return tuple(said)


def erase_files(
    job: Job, memory: OpenMemory, memories: Memories, traces: Traces | None
) -> Findings:
    """Until nothing is found in the files."""
    for tried, pause in enumerate(pauses()):
        searched = job.insist(
            lambda: memory.memory.erase_file(
                traces, memories.catalog_files(), memories.catalog_pieces
            )
        )
        if searched is not None and not searched.found:
            job.problem = ""
            return searched
        if tried >= PATIENT_TRIES:
            job.problem = STILL_READ if searched is None else STILL_FOUND
        job.pause(pause)
    raise AssertionError


def erase_ram(
    job: Job, memory: OpenMemory, memories: Memories, traces: Traces
) -> tuple[Findings, set[str]]:
    """Until nothing is found in the memory of this process, or it was tried often enough.

    What other memories hold is there, such as a copy of this one, and words of the program. With
    what is left come the names of others where vectors or pictures are, or parts of them.
    """
    words = cache(process_memory.words)
    holding: set[str] = set()
    for _ in range(TRIES_MAX):
        memories.renew_connections()
        clear_scratch(memory.memory.identity.dimension)
        process_memory.wipe()
        searched = process_memory.search(traces)
        left = unexplained(searched.found, memories.catalog_pieces(traces))
        for name in dict.fromkeys((job.memory_name, *memories.serving())):
            if left:
                with suppress(MemoryRefusal):  # dropped meanwhile
                    found = left
                    left = unexplained(found, memories.get(name).memory.pieces_of(traces))
                    if name != job.memory_name and found - left - traces.texts:
                        holding.add(name)
        if left:
            left = unexplained(left, words(traces))
        if not left:
            break
        log.info("erasing", operation=job.name, left=len(left))
        job.pause(RAM_PAUSE)
    return Findings(searched.size, left), holding
