"""Merkle trees that were grown leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterable

from visual_memory_index.ledger import merkle


def peaks_of(leaves: Iterable[bytes]) -> bytes:
    """Return the peaks of a tree with these hashes of leaves."""
    peaks = b""
    for size, leaf in enumerate(leaves):
        peaks = merkle.append(size, peaks, leaf)
    return peaks


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root of a tree with these hashes of leaves."""
    known = list(leaves)
    return merkle.root(len(known), peaks_of(known))
