"""Changes of a copy in RAM, as an engine makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.ram.change import Change
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.entry import Keys, VotingEntries


def change(
    ram: RamCopy,
    *,
    removed: Sequence[str] = (),
    added: VotingEntries | None = None,
    relabelled: Mapping[str, str] = MappingProxyType({}),
    pruned: Sequence[str] = (),
) -> None:
    """Apply a change, as of a write of its own, to the entries with these ids."""
    labels = np.array([*relabelled.values()], object)
    gone, changed, silent = (keys_of(ram, [*each]) for each in (removed, relabelled, pruned))
    made = Change(gone, added, changed, labels, silent)
    ram.prepare([made])
    for _ in ram.apply(made):
        pass
    ram.finish()


def keys_of(ram: RamCopy, ids: Sequence[str]) -> Keys:
    """Return the keys of entries, pruned or not."""
    found = np.full(len(ids), -1)
    for columns in (ram._columns, ram.pruned):
        rows = columns.rows_of_ids(ids)
        found[rows >= 0] = columns.keys[rows[rows >= 0]]
    assert (found >= 0).all()
    return found


def add(
    ram: RamCopy, keys: Sequence[int], ids: Sequence[str], labels: Sequence[str], rows: NDArray[Any]
) -> None:
    """Add entries in the place of those with the same ids."""
    replaced = [*compress(ids, ram.labels_of(ids))]
    change(ram, removed=replaced, added=VotingEntries(np.array(keys), ids, labels, rows))
