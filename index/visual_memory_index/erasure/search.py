"""Searching files for residue of unlearned entries."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from visual_memory_index.erasure.residue import ResiduePatterns

READ_AT_ONCE, OVERLAP = 1 << 24, 1 << 15


@dataclass(frozen=True, slots=True)
class Findings:
    """Result of a search for residue: bytes searched, and pieces of patterns found, masked."""

    size: int
    found: frozenset[bytes]


def search_files(files: Iterable[int], patterns: ResiduePatterns) -> Findings:
    """Search files, given as descriptors, for ``patterns``."""
    found: set[bytes] = set()
    size = 0
    buffer = bytearray(READ_AT_ONCE + OVERLAP)
    for file in files:
        kept = at = 0  # residue may lie across two reads, so some bytes are kept
        while read := os.preadv(file, [memoryview(buffer)[kept:]], at):
            filled = kept + read
            found |= patterns.found_in(memoryview(buffer)[:filled])
            at += read
            kept = min(OVERLAP, filled)
            buffer[:kept] = buffer[filled - kept : filled]
        size += at
    np.frombuffer(buffer, np.uint8).fill(0)
    return Findings(size, frozenset(found))


def unexplained(found: frozenset[bytes], there: frozenset[bytes]) -> frozenset[bytes]:
    """Return the ``found`` pieces that are not part of any piece in ``there``.

    ``there`` are pieces that remaining entries contain. A piece may have been found in part, if the
    searched data ended within it.
    """
    left = found - there
    lengths: dict[bytes, set[int]] = {}  # of pieces by their beginning, at least half of each
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
