"""Reading ahead in an SQLite file: SQLite waits for each page that the system has not read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

READ_AHEAD = 1 << 28  # bytes
READ_AT_ONCE = 1 << 17  # bytes: of more Linux reads no more
INNER_PAGE, INNER_HEADER = 5, 12  # type and bytes: sqlite.org/fileformat.html, section 1.6


class ReadAhead:
    """Has the system read ``parts`` of a ``file`` ahead, if it does that.

    A part is its first byte and its size; they are given in the order in which they are needed.
    """

    def __init__(self, file: int, parts: Sequence[tuple[int, int]]) -> None:
        self._file, self._parts = file, divided(parts)
        self._size, self._passed = sum(size for _, size in parts), 0

    def go_on(self, share: float) -> None:
        """Have what follows the first ``share`` of the parts read, unless it was before."""
        done = share * self._size
        while self._passed < done + READ_AHEAD and (part := next(self._parts, None)):
            start, size = part
            self._passed += size
            if self._passed > done and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._file, start, size, os.POSIX_FADV_WILLNEED)


def divided(parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield parts of these parts that are small enough to be read at once."""
    for start, size in parts:
        for at in range(0, size, READ_AT_ONCE):
            yield start + at, min(READ_AT_ONCE, size - at)


def leaves(read: Callable[[int], bytes], root: int, count: int) -> list[int]:
    """Return the numbers of the pages with the rows of a table, by key.

    Pages are numbered from 1 to ``count``; ``read`` returns one, and ``root`` is the table's first.
    None are returned if the pages are no tree: SQLite tells a damaged file, and an undamaged one
    may have changes in its log.
    """
    level, seen = [root], {root}
    while children(read(level[0])):
        below: list[int] = []
        for number in level:
            for child in children(read(number)):
                if child in seen or not 0 < child <= count:
                    return []
                seen.add(child)
                below.append(child)
        level = below
    return level


def children(page: bytes) -> list[int]:
    """Return the numbers of the pages below an inner page of a table; others have none."""
    cells = int.from_bytes(page[3:5], "big")
    if page[:1] != bytes([INNER_PAGE]) or INNER_HEADER + 2 * cells > len(page):
        return []
    starts = np.frombuffer(page, ">u2", cells, INNER_HEADER)
    last = int.from_bytes(page[8:12], "big")
    return [*(int.from_bytes(page[at : at + 4], "big") for at in starts.tolist()), last]


def runs(pages: Iterable[int], page_size: int) -> list[tuple[int, int]]:
    """Return first byte and size of each run of neighbouring ``pages``, in their order."""
    found: list[tuple[int, int]] = []
    for number in pages:
        start = (number - 1) * page_size
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], found[-1][1] + page_size)
        else:
            found.append((start, page_size))
    return found
