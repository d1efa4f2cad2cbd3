"""Statements of certificates: the facts of an erasure, and the limits of the proof."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import visual_memory
from visual_memory.proofs.certificate import Searched, Statement, commitment
from visual_memory_index import Facts, Memory, ResiduePatterns
from visual_memory_service.config import FILES, Erasure
from visual_memory_service.runtime.memories import Duplicates

LOGGED = ("digest_before", "digest_after", "audit_index", "audit_event", "audit_root")
INTERRUPTED = (
    "The erasure was interrupted, as by a restart of the server, when the entries were deleted "
    "already, and after that it was unknown what to search for: the file was written anew as a "
    "whole, but not searched, and the RAM of the server's process was neither overwritten nor "
    "searched."
)
ONLY_FILES = (
    "The RAM of the server's process, which was neither overwritten nor searched: this server "
    "erases from files alone. What was erased may be there until something else is written in its "
    "place, at the latest until the server ends."
)
STILL_HELD = (
    "The RAM of the server's process: traces were found again and again ({} at last), which other "
    "calls or the program itself may hold; they are gone when the server ends at the latest."
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
    "erase, and words of the program itself, of its command line, settings and environment, and of "
    "the paths of the files that it maps.",
    "Texts of fewer than 12 bytes, pieces of vectors and pictures of fewer than 32, and such of "
    "few different bytes, mostly of zeros or as many have them, which could be there by chance, "
    "parts of texts, and the first quarter of each picture, where headers are, were not looked "
    "for; of very many vectors and pictures, some pieces of each were, and of more than 512 MiB "
    "those beyond were not.",
)
DECODED = (
    "Decoded pictures, the digits and the base64 in which calls by HTTP have vectors and pictures, "
    "and what a network computes of a picture on the way to its vector: they are overwritten when "
    "they are freed, which was not looked for, and a library that runs networks, such as PyTorch "
    "for those of timm and open_clip, may keep pieces until the next picture."
)
INTERLEAVED = (
    "Half of the code of each vector, which lies in RAM among those of fifteen others, and parts "
    "of vectors in the buffers of libraries that multiply matrices, packed likewise: they are "
    "overwritten, which was not looked for."
)
UNSEARCHABLE = "Vectors may be left in {}, which cannot be searched."
NOT_ASKED = (
    "Memories of the server that could not be asked whether they hold the same, such as damaged "
    "ones: {}."
)


@dataclass(frozen=True, slots=True)
class Search:
    """Outcome of the search after an erasure.

    Nothing was found in the ``clean`` places. ``left`` counts the pieces of the erased data still
    in RAM. The memories in ``also_in`` hold the same content.
    """

    clean: tuple[Searched, ...] = ()
    left: int = 0
    also_in: frozenset[str] = frozenset()


def draft(facts: Facts, asked: int, duplicates: Duplicates, backups: Sequence[int]) -> str:
    """Return as JSON, without ids, the facts of a certificate that are known after the deletion.

    ``asked`` counts the ids of the request, ``duplicates`` are the memories with the same content,
    ``backups`` the times of backups that may hold the entries, in microseconds since 1970.
    """
    salt = secrets.token_hex(32)
    return json.dumps(
        {
            "asked": asked,
            "time": facts.time,
            "count": len(facts.ids),
            "salt": salt,
            "commitments": sorted(commitment(salt, id) for id in facts.ids),
            **{name: getattr(facts, name) for name in LOGGED},
            "backups": list(backups),
            **duplicates._asdict(),
        }
    )


def to_statement(
    drafted: dict[str, Any],
    search: Search,
    patterns: ResiduePatterns | None,
    *,
    memory: Memory,
    operation: str,
    erasure: Erasure,
    ended_at: int,
    unsearchable: Sequence[str],
) -> Statement:
    """Return the statement of an erasure: the draft and the result of ``search`` for residues.

    The search ended at ``ended_at``, in microseconds since 1970. ``patterns`` are the byte strings
    searched for, or None if an interruption lost them. Each kind of RAM in ``unsearchable``, such
    as a GPU's, is listed as not covered.
    """
    identity = memory.identity
    return Statement(
        memory=identity.name,
        memory_uid=identity.uid,
        dimension=identity.dimension,
        embedder=identity.embedder or "",
        server=visual_memory.__version__,
        operation=operation,
        time=to_time(drafted["time"]),
        count=drafted["count"],
        salt=drafted["salt"],
        commitments=tuple(drafted["commitments"]),
        **{name: drafted[name] for name in LOGGED},
        looked_for=patterns.count if patterns is not None else 0,
        searched=search.clean,
        backups=tuple(map(to_time, drafted["backups"])),
        not_covered=(
            *not_covered(patterns, search.left, drafted.get("not_asked", ()), erasure),
            *map(UNSEARCHABLE.format, unsearchable),
        ),
        also_in=tuple(sorted({*drafted.get("also_in", ()), *search.also_in})),
        erasure=erasure,
        end_time=to_time(ended_at),
    )


def to_time(microseconds: int) -> datetime:
    """Return the time in whole seconds, UTC."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC)


def not_covered(
    patterns: ResiduePatterns | None, left: int, not_asked: Sequence[str], erasure: Erasure
) -> tuple[str, ...]:
    """Return sentences on all that a certificate does not promise.

    ``patterns`` are None if an interruption lost them, ``left`` counts their pieces still in RAM,
    and the memories ``not_asked`` could not be read.
    """
    said = [*NOT_COVERED]
    if erasure != FILES:
        said += [DECODED, INTERLEAVED]
    if not_asked:
        said.append(NOT_ASKED.format(", ".join(not_asked)))
    if patterns is None:
        said.append(INTERRUPTED)
    elif erasure == FILES:
        said.append(ONLY_FILES)
    elif left:
        said.append(STILL_HELD.format(left))
    return tuple(said)
