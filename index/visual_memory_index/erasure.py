"""Erasing entries from a memory's file, and looking whether anything of them is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from visual_memory_index.change import Removed
from visual_memory_index.errors import TooManyIds
from visual_memory_index.store import Transaction
from visual_memory_index.traces import Traces

UNLEARNED_MAX = 1_000_000  # ids at once
LEFT_BYTES_MAX = 1 << 29  # of vectors and pictures that are looked for
OTHERS = 32  # pictures that stay, with whose headers those of the erased are compared
READ_AT_ONCE, OVERLAP = 1 << 24, 1 << 15


@dataclass(frozen=True, slots=True)
class Facts:
    """What an erasure was, before it is searched whether it left anything.

    Times are in microseconds since 1970. ``audit_index`` and ``audit_event`` are the number and
    hash of its event in the audit log, ``audit_root`` is the log's root up to there. ``backups``
    are the times of backups made before.
    """

    ids: Sequence[str]
    time: int
    digest_before: str
    digest_after: str
    audit_index: int
    audit_event: str
    audit_root: str
    backups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Findings:
    """How many bytes were searched, and the pieces found that no entry explains, masked."""

    size: int
    found: frozenset[bytes]


def check_count(ids: Sequence[str]) -> None:
    """Raises TooManyIds."""
    if len(ids) > UNLEARNED_MAX:
        raise TooManyIds(len(ids), UNLEARNED_MAX)


def erase(
    transaction: Transaction,
    operation: str,
    settings: Iterable[str],
    draft: Callable[[Facts], str],
) -> tuple[Traces, Removed]:
    """Delete the entries that an operation is to erase, with all that names them elsewhere.

    ``settings`` go too, which were made of the entries. What ``draft`` makes of the facts is kept
    as the operation's result to be. Answers what is to be looked for, which a content that other
    entries have too is not.
    """
    noted = transaction.erasing(operation)
    known = transaction.look_up(noted)
    keys = [each.key for each in known.values()]
    left = transaction.left(keys, LEFT_BYTES_MAX)
    before = transaction.digest()
    transaction.delete(keys)
    gone = transaction.scrub(operation, left.labels, settings)
    event = transaction.log("UnlearnEntries", len(keys))
    head = transaction.head
    facts = Facts(
        ids=list(known),
        time=event.time,
        digest_before=before,
        digest_after=transaction.digest(),
        audit_index=head.size - 1,
        audit_event=head.last,
        audit_root=head.root(),
        backups=transaction.backups(),
    )
    transaction.draft(operation, draft(facts))
    texts = {*noted, *gone, *left.texts}
    twins = transaction.twins(content_sha256 for content_sha256, _, _ in left.contents)
    alone = [each for each in left.contents if each[:2] not in twins]
    vectors = [vector for _, vector, _ in alone]
    pictures = [picture for _, _, pictures in alone for picture in pictures]
    traces = Traces(texts, vectors, pictures, transaction.others(OTHERS))
    return traces, Removed(list(known))


def search_files(files: Iterable[int], traces: Traces) -> Findings:
    """Look for ``traces`` in files, given as descriptors."""
    found: set[bytes] = set()
    size = 0
    buffer = bytearray(READ_AT_ONCE + OVERLAP)
    for file in files:
        kept = at = 0  # a trace may lie across two pieces, so some bytes are kept
        while read := os.preadv(file, [memoryview(buffer)[kept:]], at):
            filled = kept + read
            found |= traces.found_in(memoryview(buffer)[:filled])
            at += read
            kept = min(OVERLAP, filled)
            buffer[:kept] = buffer[filled - kept : filled]
        size += at
    np.frombuffer(buffer, np.uint8).fill(0)
    return Findings(size, frozenset(found))


def unexplained(found: frozenset[bytes], there: frozenset[bytes]) -> frozenset[bytes]:
    """The pieces that are not in one that entries have, such as those of the same picture twice.

    Where what was searched ended in a piece, a part of it was found.
    """
    left = found - there
    lengths: dict[bytes, set[int]] = {}  # of those that begin so, with the larger part of them
    for piece in left:
        lengths.setdefault(piece[: 1 << len(piece).bit_length() - 1], set()).add(len(piece))
    sizes = {len(start) for start in lengths}
    inside = {
        each[at : at + length]
        for each in there
        for size in sizes
        for at in range(len(each) - size + 1)
        for length in lengths.get(each[at : at + size], ())
    }
    return left - inside
