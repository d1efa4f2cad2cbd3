"""Search for the nearest entries of several queries together, with their filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from visual_memory_index.ram.ram_copy import Found, RamCopy, sizes_of
from visual_memory_index.records.neighbors import Query
from visual_memory_index.scan.vectors import Rows
from visual_memory_index.store.store import Store


def search(queries: Sequence[Query], ram: RamCopy, store: Store) -> list[Found] | None:
    """Return the result of each query, or None if the search has to be repeated.

    It has to if the file, which filters read, has a commit that the copy in RAM does not have yet,
    or if a query wants a head of all entries and the statistics are not kept yet.
    """
    if not all(ram.has_statistics(moment=ridge is not None) for ridge in ridges_of_all(queries)):
        return None
    admitted = [admit(query, ram, store) for query in queries]
    if any(revision != ram.revision for revision, _ in admitted):
        return None
    left = [rows for _, rows in admitted]
    everyone = [query for query, rows in zip(queries, left, strict=True) if rows is None]
    together = iter(
        ram.vectors.candidates(
            np.concatenate([query.vectors for query in everyone]),
            [query.k for query in everyone for _ in query.vectors],
            [ram.rows_of_ids(query.exclude_ids) for query in everyone for _ in query.vectors],
        )
        if everyone
        else ()
    )
    answers = []
    for query, rows in zip(queries, left, strict=True):
        if rows is None:
            candidates = [next(together) for _ in query.vectors]
        else:
            candidates = ram.vectors.candidates_among(query.vectors, query.k, rows)
        found = ram.find(query.vectors, query.k, candidates)
        left_out = ram.rows_of_ids(query.exclude_ids)
        some = None if query.filter is None else rows
        if query.sizes:
            sizes = sizes_of(found.neighbors.labels, ram.count_labels(some, left_out))
            found = found._replace(neighbors=replace(found.neighbors, sizes=sizes))
        if query.head and found.rows.shape[1]:
            found = found._replace(head=ram.head(some, left_out, query.ridge))
        if query.means and found.rows.shape[1]:
            found = found._replace(means=ram.head(None, np.empty(0, dtype=np.intp), None))
        answers.append(found)
    return answers


def ridges_of_all(queries: Sequence[Query]) -> list[float | None]:
    """Return the ridges of the heads that queries want of all entries, or all but some ids."""
    of_rule = [query.ridge for query in queries if query.head and query.filter is None]
    return [*of_rule, *(None for query in queries if query.means)]


def admit(query: Query, ram: RamCopy, store: Store) -> tuple[int, Rows | None]:
    """Return the revision of the entries that a query's filter was read from, and rows to search.

    The rows are None if there is no filter and k is small, so that the query can be searched
    together with others.
    """
    left_out = ram.rows_of_ids(query.exclude_ids)
    if query.filter is None and query.k + len(left_out) <= ram.vectors.together_max:
        return ram.revision, None
    if query.filter is None:
        revision, rows = ram.revision, np.arange(len(ram))
    else:
        revision, keys = store.keys(query.filter)
        rows = ram.rows_of_keys(keys)
    return revision, np.setdiff1d(rows, left_out, assume_unique=True)
