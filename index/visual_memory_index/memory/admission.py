"""The rows that a filter admits: labels and ids are looked up in RAM, all else in the store."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

import numpy as np

from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.filter import And, Comparison, Filter, Not, Or
from visual_memory_index.rows.rows import RowBits
from visual_memory_index.store.store import Store


class Behind(Exception):
    """The store has a commit that the copy in RAM does not have yet."""


def admitted(filter: Filter, ram: RamCopy, store: Store) -> RowBits:
    """Return the rows of the entries that ``filter`` admits, and keep them for the next time.

    The caller keeps ``ram`` from changing. Raises Behind.
    """
    if (rows := ram.answers.get(filter)) is None:
        rows = find(filter, ram, store)
        ram.answers.keep(filter, rows)
    return rows


def find(filter: Filter, ram: RamCopy, store: Store) -> RowBits:
    """Return the rows of the entries that ``filter`` admits. Raises Behind."""
    match filter:
        case Not(part):
            return ~find(part, ram, store)
        case And(parts):
            return reduce(and_, (find(part, ram, store) for part in parts))
        case Or(parts):
            return reduce(or_, (find(part, ram, store) for part in parts))
        case Comparison(field="label"):
            return RowBits.of_mask(ram.labelled(filter))
        case Comparison(field="id", operator="=" | "!=" as operator, value=str(id)):
            named = RowBits.of_rows(ram.rows_of_ids([id]), len(ram))
            return named if operator == "=" else ~named
        case Comparison(field="pruned_by"):
            return RowBits.of_rows(np.empty(0, np.intp), len(ram))  # rows are of entries that vote
        case Comparison():
            kept = ram.answers.get(filter)
            return stored(filter, ram, store) if kept is None else kept


def stored(comparison: Comparison, ram: RamCopy, store: Store) -> RowBits:
    """Return the rows of the entries that a comparison matches in the store, and keep them.

    Raises Behind.
    """
    revision, keys = store.keys(comparison)
    if revision != ram.revision:
        raise Behind
    rows = RowBits.of_rows(ram.rows_of_keys(keys), len(ram))
    ram.answers.keep(comparison, rows)
    return rows
