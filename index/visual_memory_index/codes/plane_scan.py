"""A scan of codes: the rows that could be among the nearest to a query, by the bounds of codes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain, pairwise
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes import kernels
from visual_memory_index.codes.codes import Digits, Floats, to_digits
from visual_memory_index.codes.groups import GROUP, MANY
from visual_memory_index.codes.planes import Planes
from visual_memory_index.records.measures import KEPT_ROWS, SCANNED_ROWS
from visual_memory_index.rows.rows import RowBits, Rows

ROOM_MIN, ROOM_EACH = 4096, 256  # rows that a thread keeps at first, in all and of each query
KEPT_MAX = 1 << 22  # for several queries: 64 MB
PART_ROWS_MIN = 8192  # fewer rows are quicker in one thread
QUERIES_MAX = 256  # queries: more are no quicker, and their digits fill RAM


class Crowded(Exception):
    """So many queries, or rows as near as the k-th, that not all are searched together."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Rows that were kept for queries, with upper bounds of their products.

    ``queries`` int32 (m,) are the numbers of the queries, ``rows`` int64 (m,), ``uppers`` float32.
    """

    queries: NDArray[np.int32]
    rows: Rows
    uppers: Floats

    @classmethod
    def room(cls, count: int) -> Kept:
        """Return room for ``count`` rows."""
        return cls(
            np.empty(count, np.int32), np.empty(count, np.int64), np.empty(count, np.float32)
        )

    @classmethod
    def of(cls, parts: Sequence[Kept]) -> Kept:
        """Return all rows of ``parts``."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([each.queries for each in parts]),
            np.concatenate([each.rows for each in parts]),
            np.concatenate([each.uppers for each in parts]),
        )

    def first(self, count: int) -> Kept:
        """Return the first of the rows."""
        return Kept(self.queries[:count], self.rows[:count], self.uppers[:count])


class Wanted(NamedTuple):
    """Which rows a scan keeps for n queries: those that could be among the k nearest.

    The ``ks`` are int64 (n,). A row needs its bit in ``admitted``, uint16 (groups,), and an upper
    bound of its number in ``floors``, float32 (rows,), or more; a group's floors alone hold for
    all.
    """

    digits: Digits
    ks: NDArray[np.int64]
    admitted: NDArray[np.uint16]
    floors: Floats

    def part(self, start: int, end: int) -> Wanted:
        """Return those of the queries from ``start``, a multiple of MANY, to ``end``."""
        return self._replace(digits=self.digits.part(start, end), ks=self.ks[start:end])


class PlaneScan:
    """A scan of ``planes``, shared by so many ``threads``."""

    def __init__(self, planes: Planes, threads: int) -> None:
        self._planes, self._threads = planes, threads

    def candidates(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        admitted: NDArray[np.uint16] | None,
        threads: Executor | None,
    ) -> list[Rows]:
        """Return for each unit query (n, d) rows that include its k ≥ 1 nearest, ascending.

        All rows as near as the k-th are included. If ``admitted`` is given, rows are chosen from
        those whose bit in it is set, 16 in a number; all of them, if they are not more than k.
        Without ``threads`` the calling thread scans.
        """
        admitted = self._every() if admitted is None else admitted
        lowest = np.full(GROUP, -np.inf, np.float32)
        try:
            digits = self._digits(queries)
            return self._scan(Wanted(digits, np.array(ks), admitted, lowest), threads)
        except Crowded:
            half = len(queries) // 2
            return self.candidates(queries[:half], ks[:half], admitted, threads) + self.candidates(
                queries[half:], ks[half:], admitted, threads
            )

    def reaching(
        self, queries: NDArray[np.float32], floors: Floats, threads: Executor
    ) -> list[Rows]:
        """Return for each unit query (n, d) the rows with products that could reach ``floors``.

        The ``floors`` are float32 (m,), one of each row. Raises Crowded.
        """
        count = self._planes.count
        digits = self._digits(queries)
        lowest = np.full(-(-count // GROUP) * GROUP, np.inf, np.float32)
        lowest[:count] = floors - digits.margins.max()
        unbound = np.full(len(queries), np.inf, np.float32)
        every = digits._replace(margins=unbound)  # no row is needed to be among the nearest
        ones = np.ones(len(queries), np.int64)
        return self._scan(Wanted(every, ones, self._every(), lowest), threads)

    def _digits(self, queries: NDArray[np.float32]) -> Digits:
        """Return the digits of unit queries. Raises Crowded."""
        if len(queries) > QUERIES_MAX:
            raise Crowded
        return to_digits(self._planes.rotation(queries))

    def _every(self) -> NDArray[np.uint16]:
        """Return a bit for every row."""
        count = self._planes.count
        return RowBits.every(count).words.view("<u2")[: -(-count // GROUP)]

    def _scan(self, wanted: Wanted, threads: Executor | None) -> list[Rows]:
        """Return the rows wanted for each query. Raises Crowded.

        Threads have rows of their own, or queries where these fill a tile for each: then every
        thread finds the best lower bounds of all rows, and looks at fewer.
        """
        SCANNED_ROWS.add(self._planes.count * len(wanted.ks))
        groups, tiles = len(wanted.admitted), -(-len(wanted.ks) // MANY)
        count = 1 if threads is None else self._threads
        sides = gcd(tiles, count)
        share = max(PART_ROWS_MIN // GROUP, -(-groups * sides // count))
        spans = [(start, min(groups, start + share)) for start in range(0, groups, share)]
        size = MANY * tiles // sides
        parts = [wanted.part(start, start + size) for start in range(0, len(wanted.ks), size)]
        work = [(part, *span) for part in parts for span in spans]
        apply = map if threads is None else threads.map
        selected = iter(apply(lambda each: self._select(*each), work))
        found = [near(part.digits, part.ks, [next(selected) for _ in spans]) for part in parts]
        return [*chain(*found)]

    def _select(self, wanted: Wanted, start: int, end: int) -> tuple[Floats, Kept]:
        """Return the heaps (n, largest k) of some groups, and what was kept. Raises Crowded.

        A heap has the largest lower bounds of a query, and infinity in its places beyond k.
        """
        digits, ks, admitted, floors = wanted
        heaps = np.full((len(ks), ks.max()), -np.inf, np.float32)
        heaps[np.arange(heaps.shape[1]) >= ks[:, np.newaxis]] = np.inf
        kept, count = Kept.room(max(ROOM_MIN, ROOM_EACH * len(ks))), 0
        groups = self._planes.block_rows // GROUP
        while start < end:
            number, inside = divmod(start, groups)
            first, block = number * groups, self._planes.blocks[number]
            stop = min(first + groups, end)
            stopped, count = kernels.select(
                first * GROUP,
                block.upper,
                block.lower,
                block.numbers,
                floors[first * GROUP :] if len(floors) > GROUP else floors,
                admitted[first : first + groups],
                inside,
                stop - first,
                digits.digits,
                digits.row_digits,
                digits.offsets,
                digits.steps,
                digits.squares,
                digits.margins,
                heaps,
                kept.queries,
                kept.rows,
                kept.uppers,
                count,
            )
            start = first + stopped
            if start < stop:
                if len(ks) > 1 and len(kept.rows) >= KEPT_MAX:
                    raise Crowded
                kept = Kept.of([kept, Kept.room(len(kept.rows))])
        return heaps, kept.first(count)


def near(
    digits: Digits, ks: NDArray[np.int64], selected: Sequence[tuple[Floats, Kept]]
) -> list[Rows]:
    """Return for each query the rows that could be among the k nearest, of what all threads kept.

    Each thread has its heaps (n, largest k) beside what it kept.
    """
    heaps = np.concatenate([heaps for heaps, _ in selected], axis=1)
    kept = Kept.of([kept for _, kept in selected])
    KEPT_ROWS.add(len(kept.rows))
    rows, ends = kernels.chosen(heaps, ks, digits.margins, kept.queries, kept.rows, kept.uppers)
    return [rows[start:end] for start, end in pairwise(ends.tolist())]
