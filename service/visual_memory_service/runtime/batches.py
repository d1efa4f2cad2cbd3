"""Batches of searches: a few hundred queries at a time, between which work can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Neighbors, RamCopy

ASKED_AT_ONCE = 256


def nearest_in_batches(
    memory: RamCopy, queries: NDArray[np.float32], k: int, on_progress: Callable[[int, int], None]
) -> Iterator[tuple[NDArray[np.intp], Neighbors]]:
    """Yield indices into unit ``queries`` (n, d) with the ``k`` nearest of each, batch by batch.

    ``on_progress`` is called with (done, total) after each batch, and may raise.
    """
    for start in range(0, len(queries), ASKED_AT_ONCE):
        numbers = np.arange(start, min(start + ASKED_AT_ONCE, len(queries)))
        yield numbers, memory.nearest(queries[numbers], k)
        on_progress(int(numbers[-1]) + 1, len(queries))


def leave_one_out_in_batches(
    memory: RamCopy, queries: RamCopy, k: int, on_progress: Callable[[int, int], None]
) -> Iterator[tuple[NDArray[np.intp], Neighbors]]:
    """Yield indices into ``queries`` with the ``k`` nearest in ``memory`` of each, batch by batch.

    An entry is not its own neighbour. Queries that do not vote in ``memory`` come last; if ``k``
    covers all entries, these have one neighbour more, as they have no own entry to exclude.
    ``on_progress`` is called with (done, total) after each batch.
    """
    ids, _ = queries.columns()
    votes = memory.votes(ids.tolist())
    done = 0
    for group in (np.flatnonzero(votes), np.flatnonzero(~votes)):
        for start in range(0, len(group), ASKED_AT_ONCE):
            rows = group[start : start + ASKED_AT_ONCE]
            yield rows, memory.leave_one_out(queries, rows, k)
            done += len(rows)
            on_progress(done, len(ids))
