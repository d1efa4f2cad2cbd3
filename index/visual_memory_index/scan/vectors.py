"""The vectors of one memory, and which of them could be nearest to a query.

``ScannedIndex`` is the one there is. What passes ``tests/index/conformance`` can take its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]


class Doubt(NamedTuple):
    """Queries of one vector, by number, and rows among which are its nearest, perhaps its own."""

    numbers: list[int]
    candidates: Rows


class Others(NamedTuple):
    """The nearest others of some rows: ``lists`` int32 (n, k) in no order where ``settled`` (n,).

    A vector that scores below ``floors``, float32 (n,), is not among them. ``doubts`` are about the
    rest, each found when it is asked for.
    """

    lists: NDArray[np.int32]
    floors: NDArray[np.float32]
    settled: NDArray[np.bool_]
    doubts: Iterator[Doubt]


def moves(count: int, gone: Rows) -> tuple[Rows, Rows]:
    """Which rows move, and where to, when ascending ``gone`` of ``count`` rows go.

    The last rows, as far as they stay, fill the holes, both in ascending order.
    """
    left = count - len(gone)
    holes = gone[gone < left]
    stays = np.ones(len(gone), dtype=bool)
    stays[gone[len(holes) :] - left] = False
    return left + np.flatnonzero(stays), holes


class VectorIndex(Protocol):
    """Unit vectors float32 (m, d) in rows that stay dense: deleting ``moves`` the last rows.

    It proposes, and proves that nothing nearer is missing: whoever asks computes the exact
    distances of what it proposed (``distances.exact_distances``) and finds the k nearest, with all
    that are as near as the k-th, or is wrong. How few candidates there are is a matter of time
    alone. ``bound`` has the proof for scores.

    Not safe for threads: the owner lets no one read while ``append`` or ``remove`` runs.
    ``reserve`` may run beside readers.
    """

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
        """Have room for ``count`` rows, so that ``append`` cannot fail."""

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Have ``vectors`` (b, d) as the rows from ``count`` on."""

    def remove(self, rows: Rows) -> None:
        """Let ascending ``rows`` go as ``moves`` says, and leave nothing of them in RAM."""

    def blocks(self) -> list[NDArray[np.float32]]:
        """All rows, in pieces, by row."""

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ``rows`` together, in whatever order: float32 (len(rows), d), bit for bit."""

    def candidates(
        self, queries: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[Rows]
    ) -> list[Rows]:
        """For each query (n, d), rows among which are its k nearest that are not ``excluded``.

        Rows that are as near as the k-th are all there, and no excluded one; all that are left
        where they are no more than k. In no order. Each query has its k and its excluded rows.
        """

    def candidates_among(self, queries: NDArray[np.float32], k: int, rows: Rows) -> list[Rows]:
        """Like ``candidates`` for queries (n, d) that may only find the ascending ``rows``."""

    def others(self, rows: Rows, k: int) -> Others:
        """The k nearest others of each row, where that is settled without exact distances.

        k is at least 1 and less than ``count``. All rows are settled or doubted about.
        """

    def reached(
        self, vectors: NDArray[np.float32], floors: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """For every row whether one of ``vectors`` (n, d), n ≥ 1, scores its floor or more.

        With the floors that ``others`` gave, whatever rows came and went since: True wherever a
        vector belongs among the k nearest others. True where none does costs time alone.
        """
