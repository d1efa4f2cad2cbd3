"""Operations are kept with their memory, and found again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visual_memory_index import CUT_SHORT, Memory
from visual_memory_index.errors import DiskFull, UnknownOperation
from visual_memory_index.files.migrations import MEMORY_STEPS, migrate
from visual_memory_index.records.entry import now
from visual_memory_index.records.request import LOCAL
from visual_memory_index.sqlite.operations import KEPT_MICROSECONDS, SqliteOperations
from visual_memory_index.store.store import new_identity

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, MEMORY_STEPS, Path("m"))
        yield connection


def test_an_operation_runs_until_it_ends(db: sqlite3.Connection) -> None:
    before = now()
    SqliteOperations(db).begin("m/1", "prune", LOCAL)
    running = SqliteOperations(db).operation("m/1")
    SqliteOperations(db).end("m/1", "done", result="{}")
    done = SqliteOperations(db).operation("m/1")

    assert (running.kind, running.state, running.ended_at) == ("prune", "running", None)
    assert (done.state, done.result, done.problem, done.undone_at) == ("done", "{}", None, None)
    assert done.ended_at is not None
    assert before <= done.created_at <= done.ended_at <= now()


def test_one_that_nobody_began_is_unknown(db: sqlite3.Connection) -> None:
    with pytest.raises(UnknownOperation, match="m/1"):
        SqliteOperations(db).operation("m/1")


def test_those_that_ran_were_cut_short_the_others_stay(db: sqlite3.Connection) -> None:
    for name in ("m/1", "m/2"):
        SqliteOperations(db).begin(name, "assess", LOCAL)
    SqliteOperations(db).end("m/1", "cancelled")

    SqliteOperations(db).fail_unfinished()

    states = [(each.state, each.problem) for each in SqliteOperations(db).page(before="", limit=9)]
    assert states == [("failed", CUT_SHORT), ("cancelled", None)]


def test_pages_have_the_newest_first_and_no_results(db: sqlite3.Connection) -> None:
    for number in range(5):
        SqliteOperations(db).begin(f"m/{number}", "assess", LOCAL)
        SqliteOperations(db).end(f"m/{number}", "done", result="{}")

    pages = [SqliteOperations(db).page(before=before, limit=2) for before in ("", "m/3", "m/1")]

    assert [[each.name for each in page] for page in pages] == [
        ["m/4", "m/3"],
        ["m/2", "m/1"],
        ["m/0"],
    ]
    assert {each.result for page in pages for each in page} == {None}


def test_what_can_be_undone_is_kept_for_good_the_rest_for_a_month(db: sqlite3.Connection) -> None:
    for name, kind in (("m/1", "prune"), ("m/2", "assess"), ("m/3", "relabel"), ("m/4", "assess")):
        SqliteOperations(db).begin(name, kind, LOCAL)
        SqliteOperations(db).end(name, "done")
    old = now() - KEPT_MICROSECONDS - 1
    db.execute("UPDATE operations SET ended_at = ? WHERE name < 'm/4'", (old,))

    SqliteOperations(db).begin("m/5", "assess", LOCAL)

    names = [each.name for each in SqliteOperations(db).page(before="", limit=9)]
    assert names == ["m/5", "m/4", "m/3", "m/1"]


def test_forgetting_takes_no_longer_the_more_entries_there_are(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA foreign_keys = ON")  # as a memory has it

    def steps_to_forget(entries: int) -> int:
        db.execute("DELETE FROM entries")
        db.executemany(
            "INSERT INTO entries (id, label, metadata, created_at, content_sha256) "
            "VALUES (?, 'x', '{}', 0, x'')",
            [(f"{number}",) for number in range(entries)],
        )
        SqliteOperations(db).begin(f"m/{entries}", "assess", LOCAL)
        SqliteOperations(db).end(f"m/{entries}", "done")
        db.execute("UPDATE operations SET ended_at = 0 WHERE kind = 'assess'")
        steps: list[None] = []
        db.set_progress_handler(lambda: steps.append(None), 1)
        SqliteOperations(db).begin(f"m/{entries} and another", "prune", LOCAL)
        db.set_progress_handler(None, 1)
        return len(steps)

    assert steps_to_forget(2000) < 2 * steps_to_forget(20)


def test_an_undone_operation_says_when(db: sqlite3.Connection) -> None:
    SqliteOperations(db).begin("m/1", "prune", LOCAL)
    SqliteOperations(db).mark_undone("m/1")

    assert SqliteOperations(db).operation("m/1").undone_at is not None


def fill_log(memory: Memory) -> None:
    """Write until the log has no allocated room left."""
    while True:
        try:
            memory.keep_setting("x", "0" * 100_000, call="SetTaxonomy")
        except DiskFull:
            return


def test_an_end_that_a_full_disk_does_not_take_is_told_all_the_same(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "m.sqlite"
    with closing(Memory.create(path, new_identity("m", 2, None))) as memory:
        names = [memory.operations.begin("assess").operation.name for _ in range(3)]
        small_disk.fill()
        fill_log(memory)

        with pytest.raises(DiskFull):
            memory.operations.end(names[0], "done", result="0" * 100_000)
        ended = [
            memory.operations.end(names[0], "failed", problem="No room."),
            memory.operations.end(names[1], "cancelled"),
        ]

        assert [(each.state, each.problem) for each in ended] == [
            ("failed", "No room."),
            ("cancelled", None),
        ]
        assert [memory.operations.get(each.name) for each in ended] == ended
        listed = memory.operations.page(limit=9)
        assert listed[1:] == ended[::-1]
        assert listed[0].state == "running"
        small_disk.make_room(1_000_000)
    with closing(Memory.open(path)) as memory:
        assert {each.state for each in memory.operations.page(limit=9)} <= {"failed", "cancelled"}
