"""Reading ahead in an SQLite file: SQLite waits for each page that the system has not read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

import numpy as np

READ_AHEAD = 1 << 28  # bytes
READ_AT_ONCE = 1 << 17  # bytes: of more Linux may read no more
INNER_PAGE, INNER_HEADER = 5, 12  # type and bytes: sqlite.org/fileformat.html, section 1.6
LAST_KEY, MOST_LEVELS = (1 << 63) - 1, 20  # those of SQLite
BESIDE_ROW = 64  # bytes of a page, and some more, beside the longest row that is there as a whole
BETWEEN = 32  # long rows whose other pages may lie between two leaves: 8 in a page, and 4 tables,
# but for pictures, behind which the other pages of long rows are left to SQLite


class Run(NamedTuple):
    """Neighbouring pages: number of the first, how many, and the last key that they may hold."""

    first: int
    pages: int
    last_key: int


class ReadAhead:
    """Has the system read the rows of a table ahead, if it does that.

    ``file`` is a descriptor, ``page_bytes`` the size of a page, ``root`` the number of the table's
    first page. Rows of ``row_bytes`` that are too long for their page have the rest in pages near
    it, which are read as well. All this is advice: where a page cannot be read SQLite says so.
    """

    def __init__(self, file: int, page_bytes: int, root: int, row_bytes: int) -> None:
        def read(number: int) -> bytes:
            return os.pread(file, page_bytes, page_bytes * (number - 1))

        self._file, self._page_bytes, self._key = file, page_bytes, 0
        long = row_bytes > page_bytes - BESIDE_ROW
        gap = BETWEEN * -(-row_bytes // page_bytes) if long else 0
        most = READ_AT_ONCE // page_bytes
        self._runs = runs(leaves(read, root, lambda: self._key), gap, most)
        self._coming, self._pages = deque[Run](), 0  # that were read ahead, and are not passed

    def go_on(self, key: int) -> None:
        """Have what follows the row with this ``key`` read, unless it was before."""
        self._key = key
        while self._coming and self._coming[0].last_key <= key:
            self._pages -= self._coming.popleft().pages
        most = READ_AHEAD // self._page_bytes
        with suppress(OSError):
            while self._pages < most and (run := next(self._runs, None)):
                self._coming.append(run)
                self._pages += run.pages
                self._advise(self._page_bytes * (run.first - 1), self._page_bytes * run.pages)

    def _advise(self, start: int, size: int) -> None:
        if hasattr(os, "posix_fadvise"):
            for at in range(start, start + size, READ_AT_ONCE):
                part = min(READ_AT_ONCE, start + size - at)
                os.posix_fadvise(self._file, at, part, os.POSIX_FADV_WILLNEED)


def runs(pages: Iterator[tuple[int, int]], gap: int, most: int) -> Iterator[Run]:
    """Yield runs of ``pages``, each given with the last key it may hold.

    Of up to ``gap`` pages between two of them all are in a run, which has no more once it has
    ``most`` pages.
    """
    run = Run(0, 0, 0)
    for number, last_key in pages:
        near = 0 <= number - run.first - run.pages <= gap
        if near and 0 < run.pages < most:
            run = Run(run.first, number + 1 - run.first, last_key)
        else:
            if run.pages:
                yield run._replace(pages=number - run.first) if near else run
            run = Run(number, 1, last_key)
    if run.pages:
        yield run


def leaves(
    read: Callable[[int], bytes], root: int, passed: Callable[[], int]
) -> Iterator[tuple[int, int]]:
    """Yield the number of each page with rows of a table, by key, and the last key it may hold.

    ``read`` returns a page by its number, from 1; ``root`` is the table's first. Pages above those
    with rows are read as they are needed, and pages whose keys are all ``passed`` are left out. Of
    a damaged file, or one with changes in its log, some pages may be others.
    """
    levels, leftmost, seen = 0, root, set[int]()
    while levels < MOST_LEVELS and (below := children(read(leftmost))):
        levels, leftmost = levels + 1, below[0][0]

    def walk(number: int, levels: int, last_key: int) -> Iterator[tuple[int, int]]:
        if last_key <= passed():
            return
        if not levels:
            yield number, last_key
        elif number not in seen:
            seen.add(number)
            for child, key in children(read(number)):
                yield from walk(child, levels - 1, min(key, last_key))

    yield from walk(root, levels, LAST_KEY)


def children(page: bytes) -> list[tuple[int, int]]:
    """Return the number and the last key of each page below an inner page, by key.

    Other pages have none, nor has one whose keys do not grow.
    """
    cells = int.from_bytes(page[3:5], "big")
    if page[:1] != bytes([INNER_PAGE]) or INNER_HEADER + 2 * cells > len(page):
        return []
    starts = np.frombuffer(page, ">u2", cells, INNER_HEADER).tolist()
    last = int.from_bytes(page[8:12], "big")
    found = [
        (int.from_bytes(page[at : at + 4], "big"), varint(page[at + 4 : at + 13])) for at in starts
    ]
    if any(one >= next for (_, one), (_, next) in pairwise(found)):
        return []
    return [*found, (last, LAST_KEY)]


def varint(data: bytes) -> int:
    """Return the number of 1 to 9 bytes, not negative, at the beginning of ``data``."""
    value = 0
    for byte in data[:8]:
        value = value << 7 | byte & 127
        if byte < 128:
            return value
    return value << 8 | int.from_bytes(data[8:9], "big")
