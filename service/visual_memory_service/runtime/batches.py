"""Asking a memory very many questions: some hundred at a time, between which it can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Neighbors, RamCopy

ASKED_AT_ONCE = 256


def given(
    memory: RamCopy, queries: NDArray[np.float32], k: int, told: Callable[[int, int], None]
) -> Iterator[tuple[NDArray[np.intp], Neighbors]]:
    """The numbers of some unit ``queries`` (n, d) and the ``k`` nearest of each, until all came.

    Here and below ``told`` hears how many of how many are done, and may raise.
    """
    for start in range(0, len(queries), ASKED_AT_ONCE):
        numbers = np.arange(start, min(start + ASKED_AT_ONCE, len(queries)))
        yield numbers, memory.nearest(queries[numbers], k)
        told(int(numbers[-1]) + 1, len(queries))


def leave_one_out(
    memory: RamCopy, queries: RamCopy, k: int, told: Callable[[int, int], None]
) -> Iterator[tuple[NDArray[np.intp], Neighbors]]:
    """Some rows of ``queries`` with their ``k`` nearest in ``memory``, each but the entry itself.

    Those that do not vote there come last: where ``k`` is large they have one neighbour more.
    """
    ids, _ = queries.columns()
    votes = np.array([memory.votes(id) for id in ids], dtype=bool)
    done = 0
    for group in (np.flatnonzero(votes), np.flatnonzero(~votes)):
        for start in range(0, len(group), ASKED_AT_ONCE):
            rows = group[start : start + ASKED_AT_ONCE]
            yield rows, memory.leave_one_out(queries, rows, k)
            done += len(rows)
            told(done, len(ids))
