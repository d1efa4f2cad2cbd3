"""A nearest-neighbour query by vectors, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.filter import Filter


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Unit vectors float32 (n, d), and the number k of nearest entries to find for each vector.

    Only entries that match ``filter`` and are not in ``exclude_ids`` are found. If ``counts_k`` is
    given, the result has the neighbours' misleading counts for that K.
    """

    vectors: NDArray[np.float32]
    k: int
    filter: Filter | None = None
    exclude_ids: Sequence[str] = ()
    counts_k: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Neighbors:
    """The nearest entries of n queries, ascending by distance, equal distances by id in byte order.

    ``ids`` and ``labels`` are objects (n, k), ``distances`` float64 (n, k) in [0, 2]. ``v`` int64
    (n, k) are their misleading counts, if these were asked for.
    """

    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    distances: NDArray[np.float64]
    v: NDArray[np.int64] | None = None
