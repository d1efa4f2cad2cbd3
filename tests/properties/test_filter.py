"""Random filters, written as text and run by SQLite, admit what ten lines of Python admit."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st
from tests.index.filters import Row, admits, filters, rows, written

from visual_memory_index.errors import BadFilter
from visual_memory_index.records.filter import Filter, parse
from visual_memory_index.sqlite.filter_sql import to_sql


@given(filters)
def test_a_tree_is_read_from_its_text(filter: Filter) -> None:
    assert parse(written(filter)) == filter


@given(filters, rows, st.booleans())
def test_sqlite_admits_what_python_admits(filter: Filter, rows: list[Row], ascii: bool) -> None:
    sql, values = to_sql(filter)
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE entries (id TEXT, label TEXT, metadata TEXT, created_at INTEGER)")
        for id, label, metadata, created_at in rows:
            stored = json.dumps(metadata, ensure_ascii=ascii)
            db.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (id, label, stored, created_at))

        found = [bool(answer) for (answer,) in db.execute(f"SELECT {sql} FROM entries", values)]

    assert found == [admits(filter, row) for row in rows]


WORDS = "id label metadata create_time AND OR NOT and cat ca* \0 2026-01-31T12:00:00Z != < >="
pieces = st.sampled_from([*WORDS.split(" "), *"()-.:=*\\,'\""])


@given(st.text() | st.lists(pieces).map(" ".join) | st.lists(pieces).map("".join))
def test_any_text_is_read_or_refused_at_a_place_in_it(text: str) -> None:
    position = 0
    try:
        parse(text)
    except BadFilter as refusal:
        position = refusal.position

    assert 0 <= position <= len(text)
