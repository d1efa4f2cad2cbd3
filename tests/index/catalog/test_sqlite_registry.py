"""The registry's file can be searched and truncated, and damage to it is reported."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from visual_memory_index import Request, ResiduePatterns
from visual_memory_index.catalog.sqlite_registry import SqliteRegistry
from visual_memory_index.erasure.masks import masked
from visual_memory_index.errors import CorruptStore
from visual_memory_index.store.stored_files import StoredFiles

NAME = "a-memory-of-some-length"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SqliteRegistry]:
    with closing(SqliteRegistry(tmp_path / "catalog.sqlite")) as opened:
        with opened.transaction() as write:
            write.add(NAME, f"{NAME}.1.sqlite")
            write.keep(Request("r", b"content"), NAME)
        yield opened


def test_names_in_the_registry_are_found(registry: SqliteRegistry) -> None:
    files: StoredFiles = registry

    found = files.found_in(ResiduePatterns([NAME, "another-of-some-length"]))

    assert found == {masked(NAME.encode())}


def test_its_log_is_emptied_into_its_file(registry: SqliteRegistry) -> None:
    before = [os.fstat(each).st_size for each in registry.descriptors()]

    assert registry.truncate_log()

    after = [os.fstat(each).st_size for each in registry.descriptors()]
    assert before[1] > after[1] == 0
    assert NAME.encode() in registry.path.read_bytes()


def test_a_registry_without_its_tables_is_damaged_where_it_is_searched(
    registry: SqliteRegistry,
) -> None:
    with closing(sqlite3.connect(registry.path)) as db, db:
        db.execute("ALTER TABLE memories RENAME TO others")

    with pytest.raises(CorruptStore, match=r"bring the whole data folder back"):
        registry.found_in(ResiduePatterns([NAME]))


def test_a_registry_that_something_else_wrote_to_is_refused(registry: SqliteRegistry) -> None:
    registry.check()
    with closing(sqlite3.connect(registry.path)) as db, db:
        db.execute("DELETE FROM memories")

    with pytest.raises(CorruptStore):
        registry.check()
