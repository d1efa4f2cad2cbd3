"""All that names unlearned entries elsewhere in a file is dropped, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from visual_memory_index import Request
from visual_memory_index.errors import RequestErased
from visual_memory_index.files.migrations import MEMORY_STEPS, migrate
from visual_memory_index.records.operation import GONE, UNLEARN
from visual_memory_index.records.request import LOCAL
from visual_memory_index.sqlite.operations import SqliteOperations
from visual_memory_index.sqlite.requests import SqliteRequests
from visual_memory_index.sqlite.unlearn import SqliteUnlearning

ERASING, OTHER = "pets/1", "pets/2"


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, MEMORY_STEPS, Path("pets"))
        for name in (ERASING, OTHER):
            SqliteOperations(connection).begin(name, UNLEARN, LOCAL)
        SqliteUnlearning(connection).note_ids_to_unlearn(ERASING, ["b", "a", "b"])
        SqliteUnlearning(connection).note_ids_to_unlearn(OTHER, ["c"])
        yield connection


def test_what_is_to_be_erased_is_noted_once_for_each_operation(db: sqlite3.Connection) -> None:
    assert (
        SqliteUnlearning(db).ids_to_unlearn(ERASING),
        SqliteUnlearning(db).ids_to_unlearn(OTHER),
        SqliteUnlearning(db).ids_to_unlearn("none"),
    ) == (
        ["a", "b"],
        ["c"],
        [],
    )


def test_what_is_noted_can_be_dropped_by_operation(db: sqlite3.Connection) -> None:
    SqliteUnlearning(db).drop_ids(ERASING)

    assert (
        SqliteUnlearning(db).ids_to_unlearn(ERASING),
        SqliteUnlearning(db).ids_to_unlearn(OTHER),
    ) == ([], ["c"])


def test_sums_move_with_what_is_noted_and_dropped(db: sqlite3.Connection) -> None:
    there = "SELECT count(*), coalesce(sum(checksum(operation, id)), 0) FROM erasing"
    kept = "SELECT count, sum FROM sums WHERE name = 'erasing'"

    for operation in (ERASING, OTHER):
        assert db.execute(kept).fetchone() == db.execute(there).fetchone()
        SqliteUnlearning(db).drop_ids(operation)

    assert db.execute(kept).fetchone() == (0, 0)


def test_scrubbing_drops_the_noted_ids_too(db: sqlite3.Connection) -> None:
    SqliteUnlearning(db).scrub(ERASING, [], [])

    assert (
        SqliteUnlearning(db).ids_to_unlearn(ERASING),
        SqliteUnlearning(db).ids_to_unlearn(OTHER),
    ) == ([], ["c"])


def test_the_answer_to_a_write_of_one_of_them_is_gone(db: sqlite3.Connection) -> None:
    SqliteRequests(db).keep(Request("wrote it", b"content of a"), ["x", "a"])
    SqliteRequests(db).keep(Request("wrote others", b"content"), ["x", "c", "A", "ab"])

    SqliteUnlearning(db).scrub(ERASING, [], [])

    assert SqliteRequests(db).recall(Request("wrote others", b"content")) == ["x", "c", "A", "ab"]
    with pytest.raises(RequestErased):
        SqliteRequests(db).recall(Request("wrote it", b"content of a"))
    assert db.execute("SELECT count(*) FROM requests WHERE fingerprint = x''").fetchone() == (1,)


def test_what_operations_were_asked_for_cannot_be_guessed_but_an_unlearning_may_be_repeated(
    db: sqlite3.Connection,
) -> None:
    SqliteOperations(db).begin("pets/3", "relabel", LOCAL)
    relabel = Request("relabels", b"a is ill")
    SqliteRequests(db).keep(relabel, ["pets/3"])
    SqliteRequests(db).keep(Request("unlearns", b"a"), [ERASING])

    SqliteUnlearning(db).scrub(ERASING, [], [])

    with pytest.raises(RequestErased):
        SqliteRequests(db).recall(relabel)
    assert SqliteRequests(db).recall(Request("unlearns", b"a")) == [ERASING]
    assert (
        db.execute("SELECT 1 FROM requests WHERE fingerprint = ?", (b"a is ill",)).fetchone()
        is None
    )


@pytest.mark.parametrize(
    ("result", "gone"),
    [
        ({"ids": ["x", "a"]}, True),
        ({"b": 1}, True),
        ({"deep": [{"label": "owl"}]}, True),
        ({"labels": {"owl": 3}}, True),
        ({"ids": ["x", "c"], "labels": {"owls": 3, "cat": 1}}, False),
        ({"count": 2}, False),
    ],
)
def test_a_result_that_names_them_or_their_labels_is_gone(
    result: object, gone: bool, db: sqlite3.Connection
) -> None:
    SqliteOperations(db).begin("pets/3", "prune", LOCAL)
    SqliteOperations(db).end("pets/3", "done", result=json.dumps(result))

    SqliteUnlearning(db).scrub(ERASING, ["owl", "eagle"], [])

    left = SqliteOperations(db).operation("pets/3")
    assert (left.result, left.problem) == ((None, GONE) if gone else (json.dumps(result), None))


@pytest.mark.parametrize("kind", ["tune", "tune-dry-run", "calibrate", "check"])
def test_a_result_that_can_name_none_stays_whatever_words_it_has(
    kind: str, db: sqlite3.Connection
) -> None:
    SqliteOperations(db).begin("pets/3", kind, LOCAL)
    SqliteOperations(db).end("pets/3", "done", result=json.dumps({"a": "owl"}))

    SqliteUnlearning(db).scrub(ERASING, ["owl"], [])

    assert SqliteOperations(db).operation("pets/3").result == json.dumps({"a": "owl"})


def test_certificates_and_work_without_a_result_stay(db: sqlite3.Connection) -> None:
    SqliteOperations(db).begin("pets/3", "prune", LOCAL)
    SqliteOperations(db).draft(OTHER, json.dumps({"a": "b"}))

    SqliteUnlearning(db).scrub(ERASING, ["a"], [])

    assert SqliteOperations(db).operation(OTHER).result == json.dumps({"a": "b"})
    assert SqliteOperations(db).operation("pets/3").problem is None


def test_what_was_derived_goes_and_of_the_settings_those_named(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO derived VALUES ('lists', 0, x'00'), ('keys', 0, x'01')")
    db.execute("INSERT INTO settings VALUES ('calibration', '1'), ('taxonomy', '2'), ('c', '3')")

    SqliteUnlearning(db).scrub(ERASING, [], ["calibration", "c"])

    assert db.execute("SELECT count(*) FROM derived").fetchone() == (0,)
    assert db.execute("SELECT name FROM settings").fetchall() == [("taxonomy",)]


ENTRY = "INSERT INTO entries (key, id, label, metadata, created_at, content_sha256) VALUES "


@pytest.fixture
def judged(db: sqlite3.Connection) -> sqlite3.Connection:
    """Return a database of two cats and an owl, and three results with their labels.

    An undo would make the owl an eagle.
    """
    db.execute(f"{ENTRY} (1, 'a', 'cat', '{{}}', 0, x''), (2, 'b', 'cat', '{{}}', 0, x'')")
    db.execute(f"{ENTRY} (3, 'c', 'owl', '{{}}', 0, x'')")
    for name, labels in (("pets/3", ["cat", "owl"]), ("pets/4", ["eagle"]), ("pets/5", ["cat"])):
        SqliteOperations(db).begin(name, "prune", LOCAL)
        SqliteOperations(db).end(
            name, "done", result=json.dumps({"labels": dict.fromkeys(labels, 1)})
        )
    db.execute("INSERT INTO relabels VALUES ('pets/5', 3, 'eagle', NULL)")
    return db


def named_still(db: sqlite3.Connection) -> list[str]:
    return [
        name
        for name in ("pets/3", "pets/4", "pets/5")
        if SqliteOperations(db).operation(name).result
    ]


def test_a_result_stays_while_an_entry_or_an_undo_has_its_labels(
    judged: sqlite3.Connection,
) -> None:
    with SqliteUnlearning(judged).dropping_results(np.array([1])):
        judged.execute("DELETE FROM entries WHERE key = 1")
    assert named_still(judged) == ["pets/3", "pets/4", "pets/5"]

    with SqliteUnlearning(judged).dropping_results(np.array([3])):
        judged.execute("UPDATE entries SET label = 'cat' WHERE key = 3")
    assert named_still(judged) == ["pets/4", "pets/5"]
    assert SqliteOperations(judged).operation("pets/3").problem == GONE


def test_a_result_goes_with_the_last_that_had_a_label_of_it_or_could_have_it_back(
    judged: sqlite3.Connection,
) -> None:
    judged.execute("PRAGMA foreign_keys = ON")

    with SqliteUnlearning(judged).dropping_results(np.array([3])):
        judged.execute("DELETE FROM entries WHERE key = 3")

    assert named_still(judged) == ["pets/5"]


def steps_of(db: sqlite3.Connection, keys: Sequence[int]) -> int:
    """Count the steps of SQLite, in hundreds, to delete the entries of these keys."""
    steps = list[None]()
    db.set_progress_handler(lambda: steps.append(None), 100)
    with SqliteUnlearning(db).dropping_results(np.array(keys)):
        db.execute("DELETE FROM entries WHERE key IN (SELECT value FROM json_each(?))", [str(keys)])
    return len(steps)


def test_all_entries_are_looked_through_once_however_many_labels_go(
    judged: sqlite3.Connection,
) -> None:
    judged.executemany(
        f"{ENTRY} (?, ?, ?, '{{}}', 0, x'')",
        [(key, f"{key}", f"{key}" if key < 200 else "cat") for key in range(10, 5000)],
    )

    one = steps_of(judged, [10])

    assert steps_of(judged, list(range(11, 100))) < 3 * one
    assert steps_of(judged, [300]) < one / 10  # a label that is found at once
