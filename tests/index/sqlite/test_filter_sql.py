"""Filters match in SQLite by the meaning of their text."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from visual_memory_index.records.filter import (
    NESTING_MAX,
    TEXT_MAX,
    parse,
)
from visual_memory_index.sqlite.filter_sql import to_sql

TABLE = """CREATE TABLE entries
    (id TEXT, label TEXT, metadata TEXT, created_at INTEGER, pruned_by TEXT) STRICT"""
PRUNED = {"a": "pets/1", "d": "pets/2"}
ENTRIES: tuple[tuple[str, str, dict[str, str], int], ...] = (
    ("a", "cat", {"source": "web", "odd key": "1"}, 0),
    ("b", "Cat", {"source": "camera", 'quo"te': "2", "$.a[0]": "3"}, 1_500_000),
    ("c", "caterpillar", {"a.b": "4", "é😀": "ü", "empty": ""}, 1_769_860_800_000_000),
    ("d", "a*b?[c]", {"source": "Web site", "path": "x\\y", "said": 'it\'s "so"'}, -1),
    ("ä", "löwe", {}, 2),
)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(TABLE)
        rows = [
            (id, label, json.dumps(pairs), time, PRUNED.get(id))
            for id, label, pairs, time in ENTRIES
        ]
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)
        yield connection


def admitted(db: sqlite3.Connection, text: str) -> str:
    """Return the ids that the filter matches, one letter each."""
    tree = parse(text)
    assert tree is not None
    sql, values = to_sql(tree)
    return "".join(id for (id,) in db.execute(f"SELECT id FROM entries WHERE {sql}", values))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('label = "cat"', "a"),
        ("label=cat", "a"),
        ("label != cat", "bcdä"),
        ("label = 'cat'", "a"),
        ("id < b", "a"),
        ("id <= b", "ab"),
        ("id > b", "cdä"),
        ("id >= z", "ä"),
        ("label < a", "b"),
        ('label = "ca*"', "ac"),
        ("label = *t", "ab"),
        ("label = c*t*r", "c"),
        ("label != ca*", "bdä"),
        ("label = *", "abcdä"),
        (r'label = "a\*b?[c]"', "d"),
        (r'label = "a\**"', "d"),
        ('label = "a?b*"', ""),
        ('label = "*?[c]"', "d"),
        ("label:at", "abc"),
        ('label:"at*p"', "c"),
        ("label:?", "d"),
        ("id:*", "abcdä"),
        ("metadata.source = web", "a"),
        ("metadata.source != web", "bd"),
        ("NOT metadata.source = web", "bcdä"),
        ("metadata.source = *e*", "abd"),
        ("metadata.source != w*", "bd"),
        ("metadata.source > b", "ab"),
        ("metadata.source:eb", "ad"),
        ("metadata.source:*", "abd"),
        ("metadata:source", "abd"),
        ("-metadata:source", "cä"),
        ('metadata:"a.b"', "c"),
        ('metadata."odd key" = 1', "a"),
        ("metadata.'quo\"te' = 2", "b"),
        (r'metadata."quo\"te" = 2', "b"),
        ('metadata."$.a[0]" = 3', "b"),
        ('metadata."a.b" = 4', "c"),
        ("metadata.é😀 = ü", "c"),
        ('metadata.empty = ""', "c"),
        ('metadata.empty:""', "c"),
        (r'metadata.path = "x\\y"', "d"),
        (r"metadata.said = 'it\'s " + '"so"\'', "d"),
        ("create_time = 1970-01-01T00:00:00Z", "a"),
        ('create_time > "1970-01-01T00:00:01.5Z"', "c"),
        ("create_time >= 1970-01-01T01:00:01.500000+01:00", "bc"),
        ("create_time < 1969-12-31t19:00:00-05:00", "d"),
        ("create_time = 2026-01-31T12:00:00z", "c"),
        ("create_time != 1970-01-01T00:00:00.000002Z", "abcd"),
        ("create_time > 0001-01-01T00:00:00+23:59", "abcdä"),
        ("pruned_by:*", "ad"),
        ("NOT pruned_by:*", "bcä"),
        ("pruned_by != pets/1", "d"),
        ("-pruned_by = pets/1", "bcdä"),
        ("NOT (pruned_by > pets/1 id:*)", "abcä"),
        ('label = cat AND metadata.source = "web" AND NOT id = "a"', ""),
        ("label:at AND id = a OR id = b", "ab"),
        ("(label:at AND id = a) OR id = d", "ad"),
        ("id = a OR id = b OR id = c", "abc"),
        ("label:at id > a", "bc"),
        ("NOT (id = a OR id = b)", "cdä"),
        ("-(id=a)", "bcdä"),
        ("metadata.NOT = 1 OR id = NOTE", ""),
    ],
)
def test_a_filter_admits(db: sqlite3.Connection, text: str, ids: str) -> None:
    assert admitted(db, text) == ids


@pytest.mark.parametrize(
    "text",
    [
        "id=a " * (TEXT_MAX // 5),
        " OR ".join(["id=a"] * (TEXT_MAX // 8)),
        "metadata.source:* " * (TEXT_MAX // 18),
        "id=a id=b OR NOT (" * NESTING_MAX + "id:* -metadata:k" + ")" * NESTING_MAX,
        "label = '" + r"*\*" * (TEXT_MAX // 3 - 4) + "'",
    ],
    ids=["and", "or", "metadata", "nested", "wildcards"],
)
def test_sqlite_takes_the_longest_and_the_deepest_filter(db: sqlite3.Connection, text: str) -> None:
    assert set(admitted(db, text)) <= set("abcdä")


def test_the_text_of_a_user_never_enters_the_sql() -> None:
    tree = parse("""label = "'; DROP TABLE entries" metadata."' OR 1 --":"x' --" """)

    assert tree is not None
    assert to_sql(tree) == (
        "(entries.label = ? AND EXISTS (SELECT 1 FROM json_each(entries.metadata) AS pair"
        " WHERE pair.key = ? AND pair.value GLOB ?))",
        ["'; DROP TABLE entries", "' OR 1 --", "*x' --*"],
    )
