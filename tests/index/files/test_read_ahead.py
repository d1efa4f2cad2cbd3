"""The pages that hold a table's rows are found in its file, in order, and read ahead once each."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.errors import ReadFailed
from visual_memory_index.files import database as database_module
from visual_memory_index.files import read_ahead
from visual_memory_index.files.database import Database
from visual_memory_index.files.read_ahead import leaves, runs

ROWS = 5000
STEPS = (
    "CREATE TABLE wide (key INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;"
    "CREATE TABLE narrow (key INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;",
)
SHARES = [step / 100 for step in range(101)]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A file of two tables in turn, both with inner pages below their first."""
    monkeypatch.setattr(database_module, "PAGE_BYTES", 512)
    with closing(Database(tmp_path / "a.sqlite", STEPS)) as made:
        with made.transaction() as db:
            for key in range(ROWS):
                db.execute("INSERT INTO wide VALUES (?, ?)", (key, f"<wide {key}>".ljust(200)))
                db.execute("INSERT INTO narrow VALUES (?, ?)", (key, f"<narrow {key}>"))
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
    monkeypatch.setattr(read_ahead, "READ_AHEAD", 1 << 16)
    monkeypatch.setattr(read_ahead, "READ_AT_ONCE", 1 << 12)
    return found


def go_on(database: Database, table: str, *shares: float) -> None:
    with database.reading() as db:
        ahead = database.read_ahead(db, table)
        for share in shares:
            ahead.go_on(share)


def bytes_of(parts: Sequence[tuple[int, int]]) -> int:
    return sum(size for _, size in parts)


@pytest.mark.parametrize(("table", "other"), [("wide", "narrow"), ("narrow", "wide")])
def test_all_rows_of_a_table_are_read_ahead_by_key_and_none_of_another(
    table: str, other: str, database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, table, *SHARES)

    data, keys = database.path.read_bytes(), list[int]()
    for start, size in asked:
        part = data[start : start + size]
        assert f"<{other}".encode() not in part
        keys += sorted(map(int, re.findall(rf"<{table} (\d+)>".encode(), part)))
    assert keys == list(range(ROWS))


@pytest.mark.parametrize("table", ["", "wide"])
def test_each_part_is_read_once_and_a_little_before_it_is_needed(
    table: str, database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, table, *SHARES)
    whole, size = list(asked), bytes_of(asked)
    assert len(set(whole)) == len(whole)
    assert max(size for _, size in whole) <= 1 << 12

    asked.clear()
    with database.reading() as db:
        ahead = database.read_ahead(db, table)
        for share in SHARES:
            ahead.go_on(share)
            wanted = min(size, share * size + (1 << 16))
            assert wanted <= bytes_of(asked) < wanted + (1 << 12)
    assert asked == whole
    assert bool(table) or whole[0][0] == 0 < size == database.path.stat().st_size


def test_parts_that_are_passed_are_not_read(
    database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, "", 0.5)

    half = database.path.stat().st_size // 2
    assert half - (1 << 12) < asked[0][0] <= half
    assert bytes_of(asked) <= (1 << 16) + (1 << 12)


def test_rows_in_the_log_are_left_to_sqlite(
    database: Database, asked: list[tuple[int, int]]
) -> None:
    go_on(database, "wide", *SHARES)
    before = list(asked)
    asked.clear()
    with database.transaction() as db:
        db.execute("UPDATE wide SET text = key")  # which then needs fewer pages
        db.execute("CREATE TABLE late (key INTEGER PRIMARY KEY) STRICT")

    go_on(database, "wide", *SHARES)
    go_on(database, "late", *SHARES)

    assert asked[:-1] == before
    assert len(asked) == len(before) + 1


def test_a_disk_that_cannot_be_read_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)

    with pytest.raises(ReadFailed, match=r"a\.sqlite could not be read \(input/output error\)"):
        go_on(database, "wide", 0)


def inner(*numbers: int) -> bytes:
    """Return an inner page of a table, with these pages below it."""
    cells = [number.to_bytes(4, "big") + b"\1" for number in numbers[:-1]]
    starts = [512 - 5 * (place + 1) for place in range(len(cells))]
    head = bytes([5, 0, 0]) + len(cells).to_bytes(2, "big") + bytes(3)
    head += numbers[-1].to_bytes(4, "big") + b"".join(at.to_bytes(2, "big") for at in starts)
    return head + bytes(512 - len(head) - 5 * len(cells)) + b"".join(reversed(cells))


LEAF = bytes([13]) + bytes(511)


def test_pages_are_taken_from_left_to_right() -> None:
    pages = {1: inner(5, 3), 5: inner(2, 6), 3: inner(4), 2: LEAF, 6: LEAF, 4: LEAF}

    assert leaves(pages.__getitem__, 1, 6) == [2, 6, 4]
    assert leaves(pages.__getitem__, 4, 6) == [4]


@pytest.mark.parametrize(
    "pages",
    [
        {1: inner(1)},
        {1: inner(2, 2), 2: LEAF},
        {1: inner(2), 2: inner(1)},
        {1: inner(0)},
        {1: inner(4), 2: LEAF, 3: LEAF},
    ],
)
def test_pages_that_are_no_tree_have_no_leaves(pages: dict[int, bytes]) -> None:
    assert leaves(pages.__getitem__, 1, len(pages)) == []


@given(st.lists(st.tuples(st.integers(0, 4 * 512 - 1), st.integers(0, 255))))
def test_whatever_a_damaged_file_holds_the_walk_ends(changes: list[tuple[int, int]]) -> None:
    data = bytearray(inner(2, 3, 4) + inner(4, 3) + inner(1) + LEAF)
    for at, value in changes:
        data[at] = value

    found = leaves(lambda number: bytes(data[512 * (number - 1) : 512 * number]), 1, 4)

    assert len(set(found)) == len(found) <= 4


def test_neighbouring_pages_are_one_run() -> None:
    assert runs([3, 4, 5, 9, 8, 1], 512) == [(1024, 1536), (4096, 512), (3584, 512), (0, 512)]
