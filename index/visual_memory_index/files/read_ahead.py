"""Reading ahead in an SQLite file: SQLite waits for each page that the system has not read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np

READ_AHEAD = 1 << 28  # bytes
READ_AT_ONCE = 1 << 17  # bytes: of more Linux may read no more
INNER_PAGE, INNER_HEADER = 5, 12  # type and bytes: sqlite.org/fileformat.html, section 1.6
LAST_KEY, MOST_LEVELS = (1 << 63) - 1, 20  # those of SQLite


class Run(NamedTuple):
    """Neighbouring pages: number of the first, how many, and the last key that they may hold."""

    first: int
    pages: int
    last_key: int


class ReadAhead:
    """Has the system read the rows of a table ahead, if it does that.

    ``file`` is a descriptor, ``page_bytes`` the size of a page, ``root`` the number of the table's
    first page. All this is advice: where a page cannot be read SQLite says so itself.
    """

    def __init__(self, file: int, page_bytes: int, root: int) -> None:
        def read(number: int) -> bytes:
            return os.pread(file, page_bytes, page_bytes * (number - 1))

        self._file, self._page_bytes = file, page_bytes
        self._runs = runs(leaves(read, root), READ_AT_ONCE // page_bytes)
        self._coming, self._pages = deque[Run](), 0  # that were read ahead, and are not passed

    def go_on(self, key: int) -> None:
        """Have what follows the row with this ``key`` read, unless it was before."""
        while self._coming and self._coming[0].last_key <= key:
            self._pages -= self._coming.popleft().pages
        most = READ_AHEAD // self._page_bytes
        with suppress(OSError):
            while self._pages < most and (run := next(self._runs, None)):
                if run.last_key > key:
                    self._advise(run)
                    self._coming.append(run)
                    self._pages += run.pages

    def _advise(self, run: Run) -> None:
        if hasattr(os, "posix_fadvise"):
            start, size = self._page_bytes * (run.first - 1), self._page_bytes * run.pages
            os.posix_fadvise(self._file, start, size, os.POSIX_FADV_WILLNEED)


def runs(pages: Iterator[tuple[int, int]], most: int) -> Iterator[Run]:
    """Yield runs of up to ``most`` neighbouring ``pages``, each with the last key it may hold."""
    run = Run(0, 0, 0)
    for number, last_key in pages:
        if number == run.first + run.pages and 0 < run.pages < most:
            run = Run(run.first, run.pages + 1, last_key)
        else:
            if run.pages:
                yield run
            run = Run(number, 1, last_key)
    if run.pages:
        yield run


def leaves(read: Callable[[int], bytes], root: int) -> Iterator[tuple[int, int]]:
    """Yield the number of each page with rows of a table, by key, and the last key it may hold.

    ``read`` returns a page by its number, from 1; ``root`` is the table's first. Pages above those
    with rows are read as they are needed, each once. Of a damaged file, or one with changes in its
    log, some pages may be others.
    """
    levels, leftmost, seen = 0, root, set[int]()
    while levels < MOST_LEVELS and (below := children(read(leftmost))):
        levels, leftmost = levels + 1, below[0][0]

    def walk(number: int, levels: int, last_key: int) -> Iterator[tuple[int, int]]:
        if not levels:
            yield number, last_key
        elif number not in seen:
            seen.add(number)
            for child, key in children(read(number)):
                yield from walk(child, levels - 1, min(key, last_key))

    yield from walk(root, levels, LAST_KEY)


def children(page: bytes) -> list[tuple[int, int]]:
    """Return the number and the last key of each page below an inner page; others have none."""
    cells = int.from_bytes(page[3:5], "big")
    if page[:1] != bytes([INNER_PAGE]) or INNER_HEADER + 2 * cells > len(page):
        return []
    starts = np.frombuffer(page, ">u2", cells, INNER_HEADER).tolist()
    last = int.from_bytes(page[8:12], "big")
    found = [
        (int.from_bytes(page[at : at + 4], "big"), varint(page[at + 4 : at + 13])) for at in starts
    ]
    return [*found, (last, LAST_KEY)]


def varint(data: bytes) -> int:
    """Return the number of 1 to 9 bytes, not negative, at the beginning of ``data``."""
    value = 0
    for byte in data[:8]:
        value = value << 7 | byte & 127
        if byte < 128:
            return value
    return value << 8 | int.from_bytes(data[8:9], "big")
