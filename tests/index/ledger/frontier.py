"""Merkle trees that were grown leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterable

from visual_memory_index.ledger.merkle import Frontier


def frontier_of(leaves: Iterable[bytes]) -> Frontier:
    """Return the frontier of a tree with these hashes of leaves."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier
