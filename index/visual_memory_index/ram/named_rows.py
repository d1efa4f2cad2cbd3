"""The rows of the entries that a change names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from visual_memory_index.ram.change import Change
from visual_memory_index.ram.columns import Columns
from visual_memory_index.ram.labels import Factorized, factorized
from visual_memory_index.rows.rows import Rows, distinct


class NamedRows(NamedTuple):
    """The rows that a change names, ascending; those relabelled in any order, with new labels."""

    removed: Rows
    removed_pruned: Rows  # of pruned entries
    relabelled: tuple[Rows, Factorized]
    relabelled_pruned: tuple[Rows, Factorized]  # of pruned entries
    pruned: Rows


def rows_of(change: Change, voting: Columns, silent: Columns) -> NamedRows:
    """Look up the entries that a ``change`` names, ``voting`` or ``silent``. Raises KeyError."""
    removed, pruned = voting.rows_of_ids(change.removed), voting.rows_of_ids(change.pruned)
    others = [change.removed[at] for at in np.flatnonzero(removed < 0).tolist()]
    removed_pruned = silent.rows_of_ids(others)
    relabelled, relabelled_pruned = (of_new(each, change.relabelled) for each in (voting, silent))
    labelled = len(relabelled[0]) + len(relabelled_pruned[0])
    if (removed_pruned < 0).any() or (pruned < 0).any() or labelled < len(change.relabelled):
        raise KeyError("an entry that a change names")
    return NamedRows(
        removed=distinct(removed[removed >= 0]),
        removed_pruned=distinct(removed_pruned),
        relabelled=relabelled,
        relabelled_pruned=relabelled_pruned,
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
        if change.removed or change.pruned:
            return


def of_new(columns: Columns, labels: Mapping[str, str]) -> tuple[Rows, Factorized]:
    """Return the rows whose ids get new ``labels``, and these."""
    rows = columns.rows_of_ids([*labels])
    new = np.array([*labels.values()], dtype=object)[rows >= 0]
    return rows[rows >= 0], factorized(new.tolist())
