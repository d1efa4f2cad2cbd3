"""A repeated request is recalled, and an import continues where it ended."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from visual_memory_index import WITHOUT_ID, Request
from visual_memory_index.errors import RequestReused, WrongOffset
from visual_memory_index.files.migrations import CATALOG_STEPS, migrate
from visual_memory_index.records.request import StoredBatch
from visual_memory_index.sqlite.requests import REMEMBERED, SqliteRequests

HOUR = 3600 * 1_000_000


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, CATALOG_STEPS, Path("requests"))
        yield connection


def test_what_was_kept_is_recalled(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("r", b"content"), ["a", "é"])

    assert SqliteRequests(db).recall(Request("r", b"content")) == ["a", "é"]


@pytest.mark.parametrize("count", [1, 8191, 8192, 8193, 20_000])
def test_a_long_answer_is_recalled(count: int, db: sqlite3.Connection) -> None:
    ids = [f'entry "{number}"' for number in range(count)]
    request = Request("long", b"f")

    SqliteRequests(db).keep(request, ids)

    assert SqliteRequests(db).recall(request) == ids
    assert db.execute("SELECT answer FROM requests").fetchone() == (json.dumps(ids),)


def test_an_empty_answer_is_an_answer(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("r", b"content"), [])

    assert SqliteRequests(db).recall(Request("r", b"content")) == []


def test_no_request_is_neither_kept_nor_recalled(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(WITHOUT_ID, ["a"])

    assert SqliteRequests(db).recall(WITHOUT_ID) is None
    assert SqliteRequests(db).recall(Request("other", b"")) is None
    assert db.execute("SELECT count(*) FROM requests").fetchone() == (0,)


def test_other_content_under_the_same_id_is_refused(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("r", b"content"), ["a"])

    with pytest.raises(RequestReused, match='"r" was used before with other content'):
        SqliteRequests(db).recall(Request("r", b"other"))


def set_clock(db: sqlite3.Connection, ahead: int) -> None:
    """Move the clock ahead by ``ahead`` microseconds: make all answers older."""
    db.execute("UPDATE requests SET answered_at = answered_at - ?", (ahead,))


@pytest.mark.parametrize(("hours", "left"), [(47, True), (49, False)])
def test_answers_are_forgotten_after_48_hours(
    hours: int, left: bool, db: sqlite3.Connection
) -> None:
    SqliteRequests(db).keep(Request("old", b""), ["a"])
    for hour in range(hours):
        set_clock(db, HOUR)
        SqliteRequests(db).keep(Request(f"new {hour}", b""), ["b"])

    assert (SqliteRequests(db).recall(Request("old", b"")) is not None) == left
    assert REMEMBERED >= 24 * HOUR


@pytest.mark.parametrize(("pause", "left"), [(0, 130), (40, 130), (50, 0)])
def test_an_import_is_remembered_as_a_whole(pause: int, left: int, db: sqlite3.Connection) -> None:
    for number in range(130):
        SqliteRequests(db).keep(Request("import", b"", start=number), ["x"])
        set_clock(db, HOUR // 2)
    for number in range(pause):
        set_clock(db, HOUR)
        SqliteRequests(db).keep(Request(f"other {number}", b""), [])

    assert [batch.start for batch in SqliteRequests(db).stored_batches("import")] == list(
        range(left)
    )


@pytest.mark.parametrize("ahead", [72 * HOUR, -72 * HOUR])
def test_a_clock_that_jumps_and_comes_back_forgets_no_answer(
    ahead: int, db: sqlite3.Connection
) -> None:
    SqliteRequests(db).keep(Request("before", b""), ["a"])
    set_clock(db, ahead)
    SqliteRequests(db).keep(Request("wrong", b""), ["b"])
    set_clock(db, -ahead)
    SqliteRequests(db).keep(Request("right", b""), ["c"])

    assert all(SqliteRequests(db).recall(Request(id, b"")) for id in ("before", "wrong", "right"))


def test_answers_are_forgotten_after_a_clock_was_wrong(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("old", b""), ["a"])
    set_clock(db, 72 * HOUR)
    SqliteRequests(db).keep(Request("wrong", b""), ["b"])
    set_clock(db, -72 * HOUR)
    for hour in range(49):
        set_clock(db, HOUR)
        SqliteRequests(db).keep(Request(f"new {hour}", b""), ["b"])

    assert SqliteRequests(db).recall(Request("old", b"")) is None
    assert SqliteRequests(db).recall(Request("wrong", b"")) is None


def test_the_batches_of_an_import_are_kept_one_by_one(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("r", b"second", start=2), ["c"])
    SqliteRequests(db).keep(Request("r", b"first", start=0), ["a", "b"])

    assert SqliteRequests(db).stored_batches("r") == [
        StoredBatch(0, ["a", "b"], b"first"),
        StoredBatch(2, ["c"], b"second"),
    ]
    assert SqliteRequests(db).stored_batches("other") == []


@pytest.mark.parametrize("start", [1, 2, 4, 100])
def test_a_batch_that_leaves_a_gap_is_refused(start: int, db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("r", b"", start=0), ["a", "b"])
    SqliteRequests(db).keep(Request("r", b"", start=2), ["c"])

    with pytest.raises(WrongOffset, match="continue at offset 3") as refusal:
        SqliteRequests(db).check_start(Request("r", b"", start))

    assert (refusal.value.got, refusal.value.want) == (start, 3)


def test_a_batch_that_continues_is_taken(db: sqlite3.Connection) -> None:
    SqliteRequests(db).check_start(Request("r", b"", start=0))
    SqliteRequests(db).keep(Request("r", b"", start=0), ["a", "b"])

    SqliteRequests(db).check_start(Request("r", b"", start=2))


def test_an_import_and_another_write_cannot_share_an_id(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("write", b""), ["x"])
    SqliteRequests(db).keep(Request("import", b"", start=0), ["y"])

    with pytest.raises(RequestReused):
        SqliteRequests(db).stored_batches("write")
    with pytest.raises(RequestReused):
        SqliteRequests(db).recall(Request("write", b"", start=0))
    with pytest.raises(RequestReused):
        SqliteRequests(db).recall(Request("import", b""))


def test_a_batch_costs_the_same_however_many_came_before_it(db: sqlite3.Connection) -> None:
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    def batch(number: int) -> int:
        request, before = Request("import", b"", start=number), steps[0]
        requests = SqliteRequests(db)
        assert requests.recall(request) is None
        requests.check_start(request)
        requests.keep(request, ["x"])
        return steps[0] - before

    db.set_progress_handler(count, 1)
    costs = [batch(number) for number in range(400)]

    assert max(costs[300:]) <= 1.2 * max(costs[10:20])
