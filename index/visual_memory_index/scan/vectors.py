"""The vectors of one memory, and which of them could be nearest to a query.

``ScannedIndex`` is the one implementation; any that passes ``tests/index/conformance`` can replace
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.distances import Distances
from visual_memory_index.rows.rows import RowBits, Rows

Ids = Callable[[Rows], NDArray[np.object_]]  # returns the ids of some rows
ReadRows = Callable[[Rows], NDArray[np.float32]]  # returns the vectors of some rows: (len(rows), d)
Originals: TypeAlias = Literal["ram", "disk"]  # where the float32 vectors are that codes stand for


class Unresolved(NamedTuple):
    """Queries with equal vectors that need exact distances, and the rows to compute these for.

    ``numbers`` are the positions of the queries. ``candidates`` include their nearest rows, and
    perhaps the query's own row.
    """

    numbers: list[int]
    candidates: Rows


class NearestOthers(NamedTuple):
    """The other rows nearest to n rows: ``lists`` int32 (n, k), in no order, if ``resolved``.

    A vector whose product is below ``score_bounds``, float32 (n,), is not in the row's list.
    ``unresolved`` yields candidates for all other rows; each is searched when it is read.
    """

    lists: NDArray[np.int32]
    score_bounds: NDArray[np.float32]
    resolved: NDArray[np.bool_]
    unresolved: Iterator[Unresolved]


class UnitRows(Protocol):
    """Unit vectors float32 (m, d), one per row, without gaps: ``moves`` describes removals.

    Not safe for threads: nothing may read while ``append`` or ``remove`` runs. ``reserve`` may run
    beside readers.
    """

    @property
    def dimension(self) -> int:
        """The dimension d of the vectors."""

    @property
    def count(self) -> int:
        """The number m of rows."""

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows in all, so that ``append`` cannot fail."""

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add ``vectors`` (b, d) after the last row."""

    def remove(self, rows: Rows) -> None:
        """Remove ascending ``rows`` as ``moves`` describes, and leave nothing of them in RAM."""

    def close(self) -> None:
        """Give back the memory of all rows at once; nothing is asked afterwards."""

    def blocks(self) -> Iterable[NDArray[np.float32]]:
        """Return all rows, as arrays in order."""

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ``rows``, in their order, into one array: float32 (len(rows), d), bit for bit."""

    def distances(self, queries: NDArray[np.float32], numbers: Rows, rows: Rows) -> Distances:
        """Return exact distances of queries[numbers] to ``rows``, pair by pair: float64 (m,).

        They are those of ``rows.distances.exact_distances``, bit for bit.
        """


class VectorIndex(UnitRows, Protocol):
    """Unit vectors that are searched.

    It proposes candidates, and proves that nothing nearer is missing: the caller has their exact
    ``distances`` computed and finds the k nearest, with all that are as
    near as the k-th. The number of candidates affects only the time.
    """

    @property
    def together_max(self) -> int:
        """The largest sum of k and excluded rows for which to search with other queries."""

    @property
    def answers_at_once(self) -> bool:
        """False while a search of few rows would wait, for loops to be compiled or for a device."""

    @property
    def code_bytes(self) -> int:
        """The size of a code: what RAM has of a vector beside itself, made of it alone."""

    def append(self, vectors: NDArray[np.float32], codes: NDArray[np.uint8] | None = None) -> None:
        """Add ``vectors`` (b, d) after the last row, perhaps with the ``codes`` made of them."""

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the code of each of ``vectors`` (n, d): uint8 (n, ``code_bytes``)."""

    def codes(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the codes of ``rows``: uint8 (len(rows), ``code_bytes``)."""

    def append_codes(self, codes: NDArray[np.uint8]) -> None:
        """Add rows after the last, given by their ``codes`` alone: their vectors are read."""

    def holds(self, rows: Rows, vectors: NDArray[np.float32]) -> bool:
        """Return True if all that RAM has of ``rows`` follows from ``vectors`` (len(rows), d)."""

    def traces(self, vectors: NDArray[np.float32]) -> Iterator[bytes]:
        """Yield pieces of what the index makes of each of ``vectors`` (n, d), such as its code."""

    def candidates(
        self, queries: NDArray[np.float32], ks: Sequence[int], excluded: Sequence[Rows]
    ) -> list[Rows]:
        """Return for each query (n, d) rows that include its k nearest, but no ``excluded`` rows.

        All rows as near as the k-th are included; if no more than k are left, all are. They are in
        no order. Each query has its own k and its own excluded rows.
        """

    def candidates_among(
        self, queries: NDArray[np.float32], k: int, admitted: RowBits
    ) -> list[Rows]:
        """Return ``candidates`` for queries (n, d), chosen from the ``admitted`` rows alone.

        These are given as bits of all ``count`` rows.
        """

    def rank(self, queries: NDArray[np.float32], ids: Ids) -> Rows:
        """Rank every row for each query (n, d), given the rows' ``ids``; see ``rank_all``."""

    def nearest_others(self, rows: Rows, k: int) -> NearestOthers:
        """Return the k other rows nearest to each row; rows needing exact distances are unresolved.

        k is at least 1 and less than ``count``. Every row is resolved or among the unresolved.
        """

    def affected_rows(
        self, vectors: NDArray[np.float32], score_bounds: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Return a mask (m,) of the rows whose score bound a product with ``vectors`` reaches.

        ``vectors`` are (n, d), n ≥ 1. Given the bounds from ``nearest_others``, whatever rows were
        added or removed since, the mask is True for every row that has one of ``vectors`` among its
        k nearest others. A needless True costs only time. Where a bound is infinity, none is
        needed.
        """


class IndexFactory(Protocol):
    """Makes the vector indexes of one process, which share threads.

    ``instructions`` names the instructions of the processor that scans use, such as "avx512".
    ``originals`` says where the vectors of memories are kept: in RAM, or in their files alone.
    ``loading`` and ``checking`` are threads that read and check the files of opened memories.
    ``prepared`` is done once loops are compiled, for which the first searches wait.
    ``unsearchable`` names the places outside the process's memory where the indexes keep vectors,
    such as "the memory of GPU 0": the search for residues cannot read these, and certificates say
    so.
    """

    instructions: str
    originals: Originals
    loading: Executor
    checking: Executor
    prepared: Future[object]
    unsearchable: Sequence[str]

    def new(
        self, dimension: int, *, background: bool = False, read: ReadRows | None = None
    ) -> VectorIndex:
        """Return an empty index; one in the ``background`` lets other indexes search first.

        If ``read`` is given, the index keeps no vectors, and reads those of its rows by it.
        """

    def clear_scratch(self) -> None:
        """Clear what work with vectors left in the buffers of libraries and on this thread's stack.

        Raises MemoryError, OSError, DeviceFailed.
        """
