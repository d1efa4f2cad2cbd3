"""Search for the nearest entries of several queries together, with their filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from visual_memory_index.memory.admission import Behind, admitted
from visual_memory_index.ram.ram_copy import Asked, Found, RamCopy, sizes_of
from visual_memory_index.records.neighbors import Query
from visual_memory_index.rows.rows import RowBits, Rows
from visual_memory_index.store.store import Store


def search(queries: Sequence[Query], ram: RamCopy, store: Store) -> list[Found] | None:
    """Return the result of each query, or None if the search has to be repeated.

    It has to if the file, which filters read, has a commit that the copy in RAM does not have yet,
    or if a query wants a head of all entries and the statistics are not kept yet.
    """
    if not all(ram.counted.has(moment=ridge is not None) for ridge in ridges_of_all(queries)):
        return None
    left_out = [ram.rows_of_ids(query.exclude_ids) for query in queries]
    try:
        searched = [
            admit(query, without, ram, store)
            for query, without in zip(queries, left_out, strict=True)
        ]
    except Behind:
        return None
    asked = zip(queries, searched, left_out, strict=True)
    alike = [(query, without) for query, rows, without in asked if rows is None]
    together = iter(
        ram.vectors.candidates(
            np.concatenate([query.vectors for query, _ in alike]),
            [query.k for query, _ in alike for _ in query.vectors],
            [without for query, without in alike for _ in query.vectors],
        )
        if alike
        else ()
    )
    candidates = list[Rows]()
    for query, rows in zip(queries, searched, strict=True):
        if rows is None:
            candidates += islice(together, len(query.vectors))
        else:
            candidates += ram.vectors.candidates_among(query.vectors, query.k, rows)
    each = ram.find([Asked(query.vectors, query.k) for query in queries], candidates)
    answers = []
    for found, query, rows, without in zip(each, queries, searched, left_out, strict=True):
        some = None if query.filter is None else rows
        if query.sizes:
            sizes = sizes_of(found.neighbors.labels, ram.count_labels(some, without))
            found = found._replace(neighbors=replace(found.neighbors, sizes=sizes))
        if query.head and found.rows.shape[1]:
            chosen = None if some is None else some.rows()
            found = found._replace(head=ram.counted.head(chosen, without, query.ridge))
        if query.means and found.rows.shape[1]:
            found = found._replace(means=ram.counted.head(None, np.empty(0, dtype=np.intp), None))
        answers.append(found)
    return answers


def ridges_of_all(queries: Sequence[Query]) -> list[float | None]:
    """Return the ridges of the heads that queries want of all entries, or all but some ids."""
    of_rule = [query.ridge for query in queries if query.head and query.filter is None]
    return [*of_rule, *(None for query in queries if query.means)]


def admit(query: Query, left_out: Rows, ram: RamCopy, store: Store) -> RowBits | None:
    """Return the rows to search for a query, without those ``left_out``.

    They are None if there is no filter and k is small, so that the query can be searched together
    with others. Raises Behind.
    """
    if query.filter is not None:
        rows = admitted(query.filter, ram, store)
    elif ram.hidden is None and query.k + len(left_out) <= ram.vectors.together_max:
        return None
    else:
        rows = RowBits.every(len(ram))
    return (rows if ram.hidden is None else rows & ~ram.hidden).without(left_out)
