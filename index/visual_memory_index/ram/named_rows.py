"""The rows of the entries that a change names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from visual_memory_index.ram.change import Change
from visual_memory_index.ram.columns import Columns
from visual_memory_index.ram.labels import Factorized, factorized
from visual_memory_index.rows.rows import Rows


class NamedRows(NamedTuple):
    """The rows that a change names, ascending; those relabelled in any order, with new labels."""

    removed: Rows
    removed_pruned: Rows  # of pruned entries
    relabelled: tuple[Rows, Factorized]
    relabelled_pruned: tuple[Rows, Factorized]  # of pruned entries
    pruned: Rows


def rows_of(change: Change, voting: Columns, silent: Columns) -> NamedRows:
    """Look up the entries that a ``change`` names, ``voting`` or ``silent``. Raises KeyError."""
    removed, pruned = voting.rows_of_keys(change.removed), voting.rows_of_keys(change.pruned)
    removed_pruned = silent.rows_of_keys(change.removed[removed < 0])
    relabelled = voting.rows_of_keys(change.relabelled)
    votes = relabelled >= 0
    of_others = silent.rows_of_keys(change.relabelled[~votes])
    if any((rows < 0).any() for rows in (removed_pruned, pruned, of_others)):
        raise KeyError("an entry that a change names")
    return NamedRows(
        removed=np.sort(removed[removed >= 0]),
        removed_pruned=np.sort(removed_pruned),
        relabelled=(relabelled[votes], factorized(change.labels[votes])),
        relabelled_pruned=(of_others, factorized(change.labels[~votes])),
        pruned=np.sort(pruned),
    )


def rows_ahead(changes: Sequence[Change], voting: Columns, silent: Columns) -> Iterator[NamedRows]:
    """Look up the entries that the first ``changes`` name, up to a change that moves rows.

    A change may name an entry that one before it adds: it is looked up later. Raises KeyError for
    the first change.
    """
    for change in changes:
        try:
            yield rows_of(change, voting, silent)
        except KeyError:
            if change is changes[0]:
                raise
            return
        if len(change.removed) or len(change.pruned):
            return
