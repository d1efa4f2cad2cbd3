"""The rows that filters admit, kept until the entries change."""

from __future__ import annotations

import threading

from visual_memory_index.records.filter import Filter
from visual_memory_index.rows.rows import RowBits

KEPT_MAX, BYTES_MAX = 64, 1 << 25  # 25 answers of ten million rows


class Answers:
    """Rows by filter, those that were asked for last; a change of the entries drops them all.

    A filter has texts, such as an id, so ``clear`` is also called while an erasure looks for
    residue. Safe for threads.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: dict[Filter, RowBits] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Drop all answers, with their filters."""
        with self._guard:
            self._kept.clear()
            self._bytes = 0

    def get(self, filter: Filter) -> RowBits | None:
        """Return the rows that ``filter`` admits, if they are kept."""
        with self._guard:
            if (rows := self._kept.pop(filter, None)) is not None:
                self._kept[filter] = rows
            return rows

    def keep(self, filter: Filter, rows: RowBits) -> None:
        """Keep the ``rows`` of a filter, in place of those that nobody asked for longest.

        The caller keeps the entries from changing since the rows were found.
        """
        with self._guard:
            if filter in self._kept:
                return
            self._kept[filter] = rows
            self._bytes += rows.words.nbytes
            while len(self._kept) > KEPT_MAX or self._bytes > BYTES_MAX:
                self._bytes -= self._kept.pop(next(iter(self._kept))).words.nbytes
