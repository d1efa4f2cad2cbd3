"""Rows changed, deleted or restored by another program are found by the totals."""

from __future__ import annotations

import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.conftest import folder_in_ram

from visual_memory_index.errors import CorruptStore
from visual_memory_index.files.checksums import checksum
from visual_memory_index.files.damage import NotAsWritten
from visual_memory_index.files.database import Database
from visual_memory_index.files.migrations import SUMS

STEPS = (
    """
    CREATE TABLE a (name TEXT PRIMARY KEY, value BLOB) STRICT, WITHOUT ROWID;
    CREATE INDEX a_by_value ON a (value);
    CREATE TABLE b (
        number INTEGER PRIMARY KEY, name TEXT REFERENCES a (name) ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE memory (revision INTEGER NOT NULL) STRICT;
    INSERT INTO memory VALUES (0);
    """,
    SUMS,
)
WRITES = (
    "INSERT OR REPLACE INTO a VALUES ('{0}', x'0{1}')",
    "INSERT OR IGNORE INTO a VALUES ('{0}', NULL)",
    "INSERT INTO b (name) SELECT name FROM a",
    "UPDATE a SET value = x'0{1}' WHERE name >= '{0}'",
    "UPDATE OR REPLACE a SET name = '{0}' WHERE value = x'0{1}'",
    "DELETE FROM a WHERE name = '{0}'",
    "DELETE FROM b",
    "UPDATE memory SET revision = revision + 1",
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Yield a database with three rows in one table, two of them with rows in the other."""
    with closing(Database(tmp_path / "a.sqlite", STEPS)) as opened:
        with opened.transaction() as db:
            db.execute("INSERT INTO a VALUES ('first', x'00'), ('second', x'01'), ('third', NULL)")
            db.execute("INSERT INTO b VALUES (1, 'first'), (2, 'second')")
        yield opened


def alter(database: Database, statement: str) -> None:
    with closing(sqlite3.connect(database.path)) as db, db:
        db.execute(statement)


def test_a_checksum_tells_values_and_types_apart() -> None:
    rows: list[tuple[int | str | bytes | None, ...]]
    rows = [(1,), ("1",), (b"1",), (None,), ("None",), (1, ""), ("", 1), ("a", "bc"), ("ab", "c")]

    assert len({checksum(row) for row in rows}) == len(rows)


def test_a_checksum_stays_what_it_is_from_release_to_release() -> None:
    assert checksum((7, "Häher \U0001f426 '\"\n", b"\0'\xff", None)) == 69490834


def form(values: tuple[int | str | bytes | None, ...]) -> bytes:
    """Return the bytes from which the checksum is computed."""
    return b"(" + len(values).to_bytes(4, "little") + b"".join(map(form_of, values))


def form_of(value: int | str | bytes | None) -> bytes:
    match value:
        case None:
            return b"N"
        case str():
            data = value.encode()
            return b"u" + len(data).to_bytes(4, "little") + data
        case bytes():
            return b"s" + len(value).to_bytes(4, "little") + value
    if -(1 << 31) <= value < 1 << 31:
        return b"i" + value.to_bytes(4, "little", signed=True)
    size = abs(value)
    digits = [(size >> shift) & 0x7FFF for shift in range(0, size.bit_length(), 15)]
    count = len(digits) if value > 0 else -len(digits)
    return b"l" + struct.pack(f"<i{len(digits)}H", count, *digits)


VALUE = st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text() | st.binary()


@given(st.lists(VALUE).map(tuple))
@example((1 << 31, -(1 << 31), -(1 << 31) - 1, 1 << 45, "x" * 300, sys.intern("label"), "\x00"))
def test_a_checksum_is_of_a_form_that_can_be_spelt_out(
    values: tuple[int | str | bytes | None, ...],
) -> None:
    assert checksum(values) == crc32(form(values))


@given(st.lists(st.tuples(st.sampled_from(WRITES), st.sampled_from("xyz"), st.integers(0, 3))))
@settings(max_examples=40)
def test_whatever_a_connection_writes_fits_its_sums(writes: list[tuple[str, str, int]]) -> None:
    with folder_in_ram() as folder, closing(Database(Path(folder) / "a", STEPS)) as database:
        for statement, name, value in writes:
            with suppress(sqlite3.IntegrityError), database.transaction() as db:
                db.execute(statement.format(name, value))

        database.check()


def test_what_is_undone_is_not_summed_up(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as db:
            db.execute("DELETE FROM a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    database.check()


@pytest.mark.parametrize(
    "renew", [Database.truncate_log, Database.renew_connections, Database.rewrite]
)
def test_a_connection_that_is_made_anew_goes_on(
    renew: Callable[[Database], object], database: Database
) -> None:
    renew(database)
    with database.transaction() as db:
        db.execute("DELETE FROM a WHERE name = 'first'")

    database.check()


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE a SET value = x'02' WHERE name = 'first'", "a"),
        ("UPDATE a SET value = x'' WHERE value IS NULL", "a"),
        ("DELETE FROM a WHERE name = 'third'", "a"),
        ("DELETE FROM b WHERE number = 1", "b"),
        ("INSERT INTO b VALUES (3, 'first')", "b"),
        ("UPDATE b SET number = 3 WHERE number = 1", "b"),
        ("UPDATE memory SET revision = 7", "memory"),
        ("DELETE FROM memory", "memory"),
        ("DELETE FROM sums WHERE name = 'a'", "a"),
        ("UPDATE sums SET sum = sum + 1 WHERE name = 'b'", "b"),
    ],
)
def test_what_something_else_writes_is_found(
    statement: str, table: str, database: Database
) -> None:
    alter(database, statement)

    with pytest.raises(CorruptStore, match=f"rows of its table {table} are not those that were"):
        database.check()


def test_who_changed_a_file_by_hand_says_so_by_deleting_the_sums(database: Database) -> None:
    database.close()
    alter(database, "DELETE FROM a WHERE name = 'third'")
    alter(database, "DELETE FROM sums")

    with closing(Database(database.path, STEPS)) as opened:
        opened.check()


def test_a_file_that_does_not_fit_its_sums_is_not_brought_up_to_date(database: Database) -> None:
    database.close()
    alter(database, "DELETE FROM b")

    with pytest.raises(CorruptStore, match="its table b"):
        Database(database.path, (*STEPS, "CREATE TABLE c (x TEXT) STRICT;"))
    with closing(Database(database.path, STEPS)) as same, pytest.raises(CorruptStore):
        same.check()


def test_a_step_leaves_sums_that_fit(database: Database) -> None:
    database.close()
    step = "ALTER TABLE b ADD COLUMN more INTEGER; UPDATE b SET more = number; DELETE FROM memory;"

    with closing(Database(database.path, (*STEPS, step))) as newer:
        newer.check()


def test_what_is_not_as_it_was_written_is_raised_as_damage_of_the_file(database: Database) -> None:
    with (
        pytest.raises(CorruptStore, match=r"a\.sqlite is damaged \(it is not\)"),
        database.reading(),
    ):
        raise NotAsWritten("it is not")
