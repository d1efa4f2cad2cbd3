"""The pages that hold a table's rows are found in its file, in order, and read ahead once each."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.files import database as database_module
from visual_memory_index.files import read_ahead
from visual_memory_index.files.database import Database
from visual_memory_index.files.read_ahead import LAST_KEY, leaves, runs, varint

ROWS = 5000
BYTES = {"wide": 200, "narrow": 14, "long": 1700}  # of a row; those of the last have four pages
STEPS = tuple(f"CREATE TABLE {each} (key INTEGER PRIMARY KEY, text TEXT) STRICT;" for each in BYTES)
AHEAD, AT_ONCE = 1 << 16, 1 << 12  # bytes


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A file of two tables in turn, both with inner pages below their first."""
    monkeypatch.setattr(database_module, "PAGE_BYTES", 512)
    with closing(Database(tmp_path / "a.sqlite", STEPS)) as made:
        with made.transaction() as db:
            for key in range(ROWS):
                for table, size in BYTES.items():
                    if table != "long" or key % 10 == 0:
                        parts = [f"<{table} {key}>".ljust(min(172, size))]
                        parts += [f"<page {part} of {key}>".ljust(508) for part in (1, 2, 3)]
                        text = "".join(parts)[:size]
                        db.execute(f"INSERT INTO {table} VALUES (?, ?)", (key, text))
        made.truncate_log()
        yield made


@pytest.fixture
def asked(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """First byte and size of all that the system is asked to read ahead."""
    found = list[tuple[int, int]]()

    def note(file: int, start: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        assert os.path.samestat(os.fstat(file), database.path.stat())
        found.append((start, size))

    monkeypatch.setattr(os, "posix_fadvise", note)
    monkeypatch.setattr(read_ahead, "READ_AHEAD", AHEAD)
    monkeypatch.setattr(read_ahead, "READ_AT_ONCE", AT_ONCE)
    return found


def go_on(database: Database, table: str, *keys: int) -> None:
    with database.reading() as db:
        ahead = database.read_ahead(db, table, BYTES.get(table, 0))
        for key in keys:
            ahead.go_on(key)


def keys_in(data: bytes, table: str, parts: Sequence[tuple[int, int]]) -> list[int]:
    """Return the keys of a table's rows in each of these ``parts`` of a file's ``data``."""
    keys = list[int]()
    for start, size in parts:
        found = re.findall(rf"<{table} (\d+)>".encode(), data[start : start + size])
        keys += sorted(map(int, found))
    return keys


@pytest.mark.parametrize(("table", "other"), [("wide", "narrow"), ("narrow", "wide")])
def test_all_rows_of_a_table_are_read_ahead_by_key_and_none_of_another(
    table: str, other: str, database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, table, *range(0, ROWS, 50))

    data = database.path.read_bytes()
    assert keys_in(data, table, asked) == list(range(ROWS))
    assert keys_in(data, other, asked) == []
    assert max(size for _, size in asked) <= AT_ONCE


@pytest.mark.parametrize("kept", [slice(None), slice(4000, None), slice(0, None, 9)])
def test_rows_are_read_a_little_before_they_are_needed(
    kept: slice, database: Database, asked: list[tuple[int, int]]
) -> None:
    """Wherever rows were deleted, and however many are passed at a time."""
    keys = list(range(ROWS)[kept])
    with database.transaction() as db:
        db.execute(
            "DELETE FROM wide WHERE key NOT IN (SELECT value FROM json_each(?))", (str(keys),)
        )
    database.truncate_log()
    data = database.path.read_bytes()
    with database.reading() as db:
        ahead = database.read_ahead(db, "wide", 200)
        for place in range(30, len(keys), 30):
            ahead.go_on(keys[place])
            following = {part: keys_in(data, "wide", [part]) for part in asked[-200:]}
            coming = [part for part, found in following.items() if found[-1] > keys[place]]
            assert set(keys[place + 1 : place + 60]) <= set(chain(*following.values()))
            assert sum(size for _, size in coming) <= AHEAD + AT_ONCE
    assert len(set(asked)) == len(asked)


def test_long_rows_are_read_ahead_with_their_other_pages(
    database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, "long", *range(0, ROWS, 50))

    assert max(size for _, size in asked) <= AT_ONCE
    data = database.path.read_bytes()
    read = b"".join(data[start : start + size] for start, size in asked)
    for key in range(50, ROWS - 50, 10):
        assert f"<long {key}>".encode() in read
        assert all(f"<page {part} of {key}>".encode() in read for part in (2, 3))


def test_pages_above_the_rows_are_read_as_they_are_needed(
    database: Database, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, pread = list[int](), os.pread

    def note(file: int, size: int, start: int) -> bytes:
        read.append(start)
        return pread(file, size, start)

    monkeypatch.setattr(os, "pread", note)

    go_on(database, "wide", 0)
    few = len(read)
    go_on(database, "wide", 4900)
    late = len(read) - few
    go_on(database, "wide", *range(0, ROWS, 50))

    assert max(few, late) < (len(read) - few - late) / 4


def test_rows_that_are_passed_are_not_read(
    database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, "wide", 3000)

    first, *_, last = keys_in(database.path.read_bytes(), "wide", asked)
    assert 3000 - AT_ONCE // 200 <= first <= 3001 < last <= 3001 + (AHEAD + AT_ONCE) // 200


def test_rows_in_the_log_are_left_to_sqlite(
    database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, "wide", *range(0, ROWS, 50))
    before = list(asked)
    asked.clear()
    with database.transaction() as db:
        db.execute("UPDATE wide SET text = key")  # which then needs fewer pages
        db.execute("CREATE TABLE late (key INTEGER PRIMARY KEY) STRICT")

    go_on(database, "wide", *range(0, ROWS, 50))
    go_on(database, "late", 0)

    assert asked[:-1] == before


@pytest.mark.parametrize("call", ["pread", "posix_fadvise"])
def test_a_disk_that_cannot_be_read_is_left_to_sqlite(
    call: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = list[int]()

    def fail(*_: int) -> bytes:
        failed.append(1)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    go_on(database, "wide", *range(0, ROWS, 50))

    assert failed


def inner(*below: tuple[int, int], last: int) -> bytes:
    """Return an inner page of a table, with the number and last key of each page below it."""
    cells = [number.to_bytes(4, "big") + bytes([key]) for number, key in below]
    starts = [512 - 5 * (place + 1) for place in range(len(cells))]
    head = bytes([5, 0, 0]) + len(cells).to_bytes(2, "big") + bytes(3)
    head += last.to_bytes(4, "big") + b"".join(at.to_bytes(2, "big") for at in starts)
    return head + bytes(512 - len(head) - 5 * len(cells)) + b"".join(reversed(cells))


LEAF = bytes([13]) + bytes(511)


def all_leaves(pages: Mapping[int, bytes], root: int = 1, passed: int = 0) -> list[tuple[int, int]]:
    return list(leaves(pages.__getitem__, root, lambda: passed))


def test_pages_are_taken_from_left_to_right_with_the_last_keys_above_them() -> None:
    pages = {1: inner((5, 20), last=3), 5: inner((2, 10), last=6), 3: inner((4, 30), last=7)}
    pages |= dict.fromkeys((2, 6, 4, 7), LEAF)

    assert all_leaves(pages) == [(2, 10), (6, 20), (4, 30), (7, LAST_KEY)]
    assert all_leaves(pages, 4) == [(4, LAST_KEY)]
    assert all_leaves(pages, passed=20) == [(4, 30), (7, LAST_KEY)]


def test_trees_may_be_as_deep_as_those_of_sqlite() -> None:
    pages = {number: inner((number + 1, 127 - number), last=99) for number in range(1, 21)}

    assert all_leaves({**pages, 21: LEAF, 99: LEAF}) == [(21, 107), (99, 108)]


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ({1: inner((2, 10), last=2), 2: inner((4, 5), last=5)}, [(4, 5), (5, 10)]),
        ({1: inner(last=1)}, []),
        ({1: inner((2, 10), (3, 10), last=4)}, [(1, LAST_KEY)]),
        ({1: inner((2, 10), (3, 7), last=4)}, [(1, LAST_KEY)]),
        ({1: inner((2, 10), last=4)[:13]}, [(1, LAST_KEY)]),
    ],
)
def test_pages_that_are_no_tree_are_walked_once(
    pages: dict[int, bytes], found: list[tuple[int, int]]
) -> None:
    assert all_leaves({**dict.fromkeys(range(1, 6), LEAF), **pages}) == found


@given(st.lists(st.tuples(st.integers(0, 4 * 512 - 1), st.integers(0, 255))))
def test_whatever_a_damaged_file_holds_the_walk_ends(changes: list[tuple[int, int]]) -> None:
    data = bytearray(inner((2, 5), (3, 9), last=4) + inner((4, 3), last=3) + inner(last=1) + LEAF)
    for at, value in changes:
        data[at] = value

    list(leaves(lambda number: bytes(data[512 * (number - 1) : 512 * number]), 1, lambda: 0))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 40, (1 << 56) - 1, 1 << 56, LAST_KEY])
def test_numbers_are_those_of_sqlite(number: int) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE a (key INTEGER PRIMARY KEY)")
        db.execute("INSERT INTO a VALUES (?)", (number,))
        page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
        page = db.serialize()[page_bytes:]

    cell = int.from_bytes(page[8:10], "big")
    assert varint(page[cell + 1 : cell + 10]) == number  # behind the size of the row


def test_neighbouring_pages_are_one_run_up_to_a_size() -> None:
    pages = [(3, 10), (4, 20), (5, 30), (6, 40), (9, 50), (8, 60), (1, 70)]

    alone = [(9, 1, 50), (8, 1, 60), (1, 1, 70)]
    assert list(runs(iter(pages), 0, 3)) == [(3, 3, 30), (6, 1, 40), *alone]
    assert list(runs(iter(pages), 2, 5)) == [(3, 7, 50), *alone[1:]]
    assert list(runs(iter(pages), 2, 4)) == [(3, 6, 40), *alone]
    assert list(runs(iter([]), 2, 5)) == []
