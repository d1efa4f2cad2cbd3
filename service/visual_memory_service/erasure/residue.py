"""Residues of deleted entries: erased from files and RAM until a search finds none."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import chain

import structlog

from visual_memory_index import Findings, Memory, ResiduePatterns, unexplained
from visual_memory_index.errors import MemoryRefusal
from visual_memory_service.config import Settings
from visual_memory_service.erasure import process_memory
from visual_memory_service.runtime.measures import RESIDUES_FOUND
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Job, pauses

PATIENT_TRIES = 6  # before a problem is shown: some seconds
TRIES_MAX, RAM_PAUSE = 12, 0.5
STILL_READ = "A backup, a copy or another program reads the file, so its log cannot be cut yet."
STILL_FOUND = "Pieces of what was erased are found in the files again and again."
log = structlog.get_logger()


def erase_files(
    job: Job, memory: Memory, memories: Memories, patterns: ResiduePatterns | None
) -> Findings:
    """Erase residues from the files of a memory and of the catalog; return once none is found.

    If ``patterns`` is None, the memory's file is rewritten instead of searched. After some tries
    ``job.problem`` says why it takes long. Raises Cancelled if the job is cancelled.
    """
    for tried, pause in enumerate(pauses()):
        searched = job.retry_while(
            lambda: memory.unlearning.erase_file(
                patterns, memories.catalog_files(), memories.catalog.files.found_in
            )
        )
        RESIDUES_FOUND.add(len(searched.found) if searched is not None else 0, "files")
        if searched is not None and not searched.found:
            job.problem = ""
            return searched
        if tried >= PATIENT_TRIES:
            job.problem = STILL_READ if searched is None else STILL_FOUND
        job.pause(pause)
    raise AssertionError


def overwrite_unused(memories: Memories) -> None:
    """Overwrite memory of this process that is in use no more, where libraries keep it."""
    gc.collect()
    memories.indexes.clear_scratch()
    process_memory.overwrite_freed()


def erase_memory(
    job: Job,
    memory: Memory,
    memories: Memories,
    patterns: ResiduePatterns,
    settings: Settings,
    close_connections: Callable[[], None],
) -> tuple[Findings, frozenset[str]]:
    """Erase residues from this process until none is found, TRIES_MAX times at most.

    Each time begins with ``close_connections``: a connection may have been opened since the last
    one, and keeps in its buffers what was sent over it, such as a repeated request with the ids.
    Pieces of ``patterns`` that other memories hold, such as a copy of this memory, or that the
    program holds by itself or in its ``settings``, are no residues. Returns the findings left, and
    the names of other memories that hold the same vectors or pictures, or parts of them. Raises
    Cancelled, FileUnavailable.
    """
    in_program = cache(
        lambda: (
            process_memory.find_in_program(patterns) | patterns.found_in(repr(settings).encode())
        )
    )
    holding: set[str] = set()
    for _ in range(TRIES_MAX):
        memories.embedders.drop_values()  # before calls that have them end
        close_connections()
        memories.drop_caches()
        overwrite_unused(memories)
        searched = process_memory.search(patterns)
        left = unexplained(searched.found, memories.catalog.files.found_in(patterns))
        for asked in chain((memory,), (each.memory for each in memories.each_open())):
            if left:
                with suppress(MemoryRefusal):  # dropped meanwhile
                    found = left
                    left = unexplained(found, asked.unlearning.pieces_of(patterns))
                    if asked is not memory and found - left - patterns.texts:
                        holding.add(asked.identity.name)
        if left:
            left = unexplained(left, in_program())
        RESIDUES_FOUND.add(len(left), "process")
        if not left:
            break
        log.info("erasing", operation=job.name, left=len(left))
        job.pause(RAM_PAUSE)
    return Findings(searched.size, left), frozenset(holding)
