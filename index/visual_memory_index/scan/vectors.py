"""The vectors of one memory, and which of them could be nearest to a query.

``ScannedIndex`` is the one there is. What passes ``tests/index/conformance`` can take its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]


class Unresolved(NamedTuple):
    """Queries with equal vectors, by number, and candidates for their nearest.

    The query's own row may be a candidate.
    """

    numbers: list[int]
    candidates: Rows


class NearestOthers(NamedTuple):
    """The nearest others of some rows: ``lists`` int32 (n, k) in no order where ``resolved`` (n,).

    A vector that scores below ``score_bounds``, float32 (n,), is not among them. ``unresolved``
    has the rest, each found when it is read.
    """

    lists: NDArray[np.int32]
    score_bounds: NDArray[np.float32]
    resolved: NDArray[np.bool_]
    unresolved: Iterator[Unresolved]


def moves(count: int, gone: Rows) -> tuple[Rows, Rows]:
    """Return the rows that move, and where to, when ascending ``gone`` of ``count`` rows go.

    The last rows, as far as they stay, fill the holes, both in ascending order.
    """
    left = count - len(gone)
    holes = gone[gone < left]
    stays = np.ones(len(gone), dtype=bool)
    stays[gone[len(holes) :] - left] = False
    return left + np.flatnonzero(stays), holes


class VectorIndex(Protocol):
    """Unit vectors float32 (m, d) in rows that stay dense: deleting ``moves`` the last rows.

    It proposes candidates, and proves that nothing nearer is missing: the caller computes their
    exact distances (``distances.exact_distances``) and finds the k nearest, with all that are as
    near as the k-th. How few candidates there are is a matter of time alone.

    Not safe for threads: nothing may read while ``append`` or ``remove`` runs. ``reserve`` may run
    beside readers.
    """

    @property
    def scan(self) -> str:
        """The name of the scan that scores come from: ``score_bounds`` hold for this one alone."""

    @property
    def dimension(self) -> int:
        """d."""

    @property
    def count(self) -> int:
        """m: how many rows there are."""

    @property
    def scanned_max(self) -> int:
        """For more neighbours, with the excluded, all rows are scored: by many queries at once
        ``candidates_among`` is quicker then.
        """

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows, so that ``append`` cannot fail."""

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add ``vectors`` (b, d) as the rows from ``count`` on."""

    def remove(self, rows: Rows) -> None:
        """Remove ascending ``rows`` as ``moves`` says, and leave nothing of them in RAM."""

    def blocks(self) -> list[NDArray[np.float32]]:
        """Return all rows, in pieces, by row."""

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ``rows`` together, in whatever order: float32 (len(rows), d), bit for bit."""

    def candidates(
        self, queries: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[Rows]
    ) -> list[Rows]:
        """Return for each query (n, d) rows that hold its k nearest which are not ``excluded``.

        Rows that are as near as the k-th are all there, and no excluded one; all that are left
        where they are no more than k. In no order. Each query has its k and its excluded rows.
        """

    def candidates_among(self, queries: NDArray[np.float32], k: int, rows: Rows) -> list[Rows]:
        """Return ``candidates`` for queries (n, d) that may only find the ascending ``rows``."""

    def nearest_others(self, rows: Rows, k: int) -> NearestOthers:
        """Return the k nearest others of each row, as far as they need no exact distances.

        k is at least 1 and less than ``count``. Every row is resolved or among the unresolved.
        """

    def affected_rows(
        self, vectors: NDArray[np.float32], score_bounds: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Return a mask (m,) of rows with which one of ``vectors`` (n, d) scores the row's bound.

        n ≥ 1. With the bounds that ``nearest_others`` gave, whatever rows came and went since: True
        wherever a vector belongs among the k nearest others. A needless True costs time alone.
        """


class IndexFactory(Protocol):
    """Makes the vector indexes of one process, which share threads.

    ``unsearchable`` names where they keep vectors beside the memory of the process, such as "the
    memory of GPU 0": the search for residues cannot read it, and certificates say so.
    """

    unsearchable: Sequence[str]

    def new(self, dimension: int, *, background: bool = False) -> VectorIndex:
        """Return an empty index; one in the ``background`` lets searches of others go first."""

    def clear_scratch(self, dimension: int) -> None:
        """Overwrite what scans keep of the vectors and queries of ``dimension`` scored last."""
