"""Loops over the texts of rows, and over tables that find rows by a number of theirs.

A table is int32 cells, EMPTY or ~row, by open addressing with linear probing (Knuth, volume 3,
section 6.4): a row is in the first cell that was empty from the home of its number on. The numbers
are a column int64 (m,); several rows may have the same. One cell at least is empty. Compiled by
Numba when they are first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from visual_memory_index.rows.compiled import compiled

EMPTY = 0
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: numbers often follow each other


@compiled
def home(number: Any, size: int) -> Any:
    """Return the cell at which the search for a number begins."""
    high = np.uint64(number) * SPREAD >> np.uint64(32)
    return np.int64(high * np.uint64(size) >> np.uint64(32))


@compiled
def put(cells: Any, numbers: Any, start: int, end: int) -> None:
    """Put the rows from ``start`` to ``end``, which are not in the table, into it."""
    for row in range(start, end):
        at = home(numbers[row], len(cells))
        while cells[at] != EMPTY:
            at = at + 1 if at + 1 < len(cells) else 0
        cells[at] = ~row


@compiled
def find(cells: Any, numbers: Any, wanted: Any) -> Any:
    """Return the row of each number in ``wanted`` int64 (n,), −1 where there is none: int64 (n,).

    Rows have different numbers.
    """
    rows = np.full(len(wanted), -1, np.int64)
    for place in range(len(wanted)):
        at = home(wanted[place], len(cells))
        while cells[at] != EMPTY:
            if numbers[~cells[at]] == wanted[place]:
                rows[place] = ~cells[at]
                break
            at = at + 1 if at + 1 < len(cells) else 0
    return rows


@compiled
def find_texts(
    cells: Any,
    hashes: Any,
    starts: Any,
    lengths: Any,
    texts: Any,
    wanted_hashes: Any,
    wanted_ends: Any,
    wanted: Any,
) -> Any:
    """Return the row of each text of ``wanted``, −1 where there is none: int64 (n,).

    ``wanted_ends`` (n,) are the ends of the n texts in ``wanted`` uint8. The numbers of the table
    are ``hashes`` of the texts of the rows: ``lengths`` bytes of ``texts`` from ``starts`` on.
    """
    rows = np.full(len(wanted_hashes), -1, np.int64)
    first = 0
    for place in range(len(wanted_hashes)):
        at = home(wanted_hashes[place], len(cells))
        while cells[at] != EMPTY:
            row = ~cells[at]
            length = wanted_ends[place] - first
            if hashes[row] == wanted_hashes[place] and lengths[row] == length:
                same = 0
                while same < length and texts[starts[row] + same] == wanted[first + same]:
                    same += 1
                if same == length:
                    rows[place] = row
                    break
            at = at + 1 if at + 1 < len(cells) else 0
        first = wanted_ends[place]
    return rows


@compiled
def cell(cells: Any, numbers: Any, row: int) -> Any:
    """Return the cell of a row that is in the table."""
    at = home(numbers[row], len(cells))
    while cells[at] != ~row:
        at = at + 1 if at + 1 < len(cells) else 0
    return at


@compiled
def drop(cells: Any, numbers: Any, rows: Any) -> None:
    """Take ``rows`` out of the table; later rows move to free cells (Knuth's algorithm R)."""
    size = len(cells)
    for row in rows:
        free = at = cell(cells, numbers, row)
        while True:
            at = at + 1 if at + 1 < size else 0
            if cells[at] == EMPTY:
                break
            passed = (at - home(numbers[~cells[at]], size)) % size
            if passed >= (at - free) % size:
                cells[free] = cells[at]
                free = at
        cells[free] = EMPTY


@compiled
def renumber(cells: Any, numbers: Any, start: Any, end: Any) -> None:
    """Give the rows ``start`` of the table the row numbers ``end``."""
    for number in range(len(start)):
        cells[cell(cells, numbers, start[number])] = ~end[number]


@compiled
def pack(texts: Any, starts: Any, lengths: Any, packed: Any, packed_starts: Any) -> int:
    """Copy the texts of all rows one behind the other, with their new starts; return the end."""
    end = 0
    for row in range(len(starts)):
        packed_starts[row] = end
        for at in range(lengths[row]):
            packed[end + at] = texts[starts[row] + at]
        end += lengths[row]
    return end


@compiled
def copied(texts: Any, starts: Any, lengths: Any, rows: Any) -> Any:
    """Return the texts of ``rows``, one behind the other."""
    size = 0
    for row in rows:
        size += lengths[row]
    found = np.empty(size, np.uint8)
    end = 0
    for row in rows:
        for at in range(lengths[row]):
            found[end + at] = texts[starts[row] + at]
        end += lengths[row]
    return found


@compiled
def erase(texts: Any, starts: Any, lengths: Any, rows: Any) -> int:
    """Overwrite the texts of ``rows`` with zeros; return the number of bytes."""
    erased = 0
    for row in rows:
        texts[starts[row] : starts[row] + lengths[row]] = 0
        erased += lengths[row]
    return erased


def compile_loops() -> None:
    """Have all loops compiled for the kinds of arrays that ``ram.columns`` has."""
    row, cells = np.zeros(1, np.int64), np.zeros(2, np.int32)
    text, lengths = np.zeros(1, np.uint8), np.zeros(1, np.int32)
    wanted = np.frombuffer(b"\0", np.uint8)
    put(cells, row, 0, 1)
    find(cells, row, row)
    find_texts(cells, row, row, lengths, text, row, row, wanted)
    renumber(cells, row, row, row)
    drop(cells, row, row)
    pack(text, row, lengths, text, row)
    copied(text, row, lengths, row)
    erase(text, row, lengths, row)
