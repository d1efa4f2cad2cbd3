"""Changes of a copy in RAM, as an engine makes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from numpy.typing import NDArray

from visual_memory_index.ram.change import Change
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.entry import VotingEntries


def change(ram: RamCopy, **what: Any) -> None:
    """Apply a change, as of a write of its own."""
    made = Change(**what)
    ram.prepare([made])
    for _ in ram.apply(made):
        pass
    ram.finish()


def add(
    ram: RamCopy, keys: Sequence[int], ids: Sequence[str], labels: Sequence[str], rows: NDArray[Any]
) -> None:
    """Add entries in the place of those with the same ids."""
    replaced = [*compress(ids, ram.labels_of(ids))]
    change(ram, removed=replaced, added=VotingEntries(keys, ids, labels, rows))
