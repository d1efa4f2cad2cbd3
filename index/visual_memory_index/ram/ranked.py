"""All entries by distance to one query, with what it takes to fit a head anew without some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.heads.head import Head
from visual_memory_index.heads.statistics import Labels, Statistics
from visual_memory_index.ram.counted_rows import refuse_rows, too_many
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.neighbors import Neighbors


class HeadWish(NamedTuple):
    """A head with this ``ridge``, with vectors of the ``nearest`` entries and of those ``ids``."""

    ridge: float | None
    nearest: int
    ids: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class RankedHead:
    """Statistics and vectors for a head of ranked entries, as of the moment of the ranking.

    ``fit`` returns the head, ``count`` the statistics, which may be changed and are counted anew at
    each call; both raise the errors of ``heads.head.fit`` and need no lock. ``vectors`` float32
    (r, d) are those of the r nearest entries, ``named`` those of other entries by id.
    """

    fit: Callable[[], Head]
    count: Callable[[], Statistics]
    vectors: NDArray[np.float32]
    named: Mapping[str, NDArray[np.float32]]


class Ranked(NamedTuple):
    """All voting entries but those left out, by distance to one query (1, m), with their head."""

    neighbors: Neighbors
    head: RankedHead | None


def rank(
    ram: RamCopy, query: NDArray[np.float32], exclude_ids: Sequence[str], wish: HeadWish | None
) -> Ranked | None:
    """Rank all entries but ``exclude_ids`` by distance to a unit ``query`` (1, d).

    Returns None if a head is wanted whose statistics are not kept yet. Raises HeadTooLarge if the
    vectors of too many entries would have to be copied for one.
    """
    if wish is not None and not ram.counted.has(moment=wish.ridge is not None):
        return None
    left_out = ram.rows_of_ids(exclude_ids)
    rows = ram.ranked(query)
    if len(left_out):
        rows = rows[:, ~np.isin(rows[0], left_out)]
    neighbors = ram.at(query, rows)
    if wish is None:
        return Ranked(neighbors, None)
    named = ram.rows_of_ids(wish.ids)
    copied = len(named) + len(left_out), ram.vectors.dimension
    if too_many(*copied):
        refuse_rows(*copied)
    assert ram.counted.statistics is not None
    gone = ram.columns(left_out)[1], ram.vectors.gather(left_out)
    kept = ram.counted.statistics.copy(moment=wish.ridge is not None)
    return Ranked(
        neighbors,
        RankedHead(
            fit=ram.counted.head(None, left_out, wish.ridge),
            count=partial(counted, kept, *gone),
            vectors=ram.vectors.gather(rows[0, : wish.nearest]),
            named=dict(zip(ram.columns(named)[0], ram.vectors.gather(named), strict=True)),
        ),
    )


def counted(statistics: Statistics, labels: Labels, vectors: NDArray[np.float32]) -> Statistics:
    """Return a copy of ``statistics`` without entries of these ``labels`` and ``vectors``."""
    own = statistics.copy()
    own.remove(labels, vectors)
    return own
