"""A file is brought to the newest schema step by step, and files of older releases still open."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from visual_memory_index import Catalog, Memory, Query, Request
from visual_memory_index.errors import CorruptStore, LostSecret, NewerStore, RequestErased
from visual_memory_index.files import checksums as sums
from visual_memory_index.files.database import connect
from visual_memory_index.files.migrations import CATALOG_STEPS, MEMORY_STEPS, migrate
from visual_memory_index.records.entry import Parts

DATA = Path(__file__).parents[1] / "data"
STEPS = ("CREATE TABLE a (x TEXT) STRICT;", "ALTER TABLE a ADD COLUMN y TEXT;")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def columns(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM pragma_table_info('a')")]


def version(db: sqlite3.Connection) -> int:
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    return found


def rows_of(path: Path) -> list[str]:
    """Return the content of a file as SQL."""
    with closing(sqlite3.connect(path)) as db:
        return [f"{version(db)}", *db.iterdump()]


def test_steps_are_done_once_and_in_order(db: sqlite3.Connection) -> None:
    migrate(db, STEPS[:1], Path("x"))
    migrate(db, STEPS, Path("x"))
    migrate(db, STEPS, Path("x"))

    assert (columns(db), version(db)) == (["x", "y"], 2)


def test_a_step_that_fails_changes_nothing(db: sqlite3.Connection) -> None:
    migrate(db, STEPS[:1], Path("x"))

    with pytest.raises(sqlite3.OperationalError):
        migrate(db, (STEPS[0], f"{STEPS[1]} CREATE TABLE a (x);"), Path("x"))
    db.execute("ROLLBACK")

    assert (columns(db), version(db)) == (["x"], 1)


def test_a_newer_schema_is_refused_and_left_as_it_is(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA user_version = 99")

    with pytest.raises(NewerStore, match=r"^x has schema 99") as refusal:
        migrate(db, STEPS, Path("folder/x"))

    assert (refusal.value.path, refusal.value.found, refusal.value.known) == (
        Path("folder/x"),
        99,
        2,
    )
    assert version(db) == 99


def test_a_memory_of_schema_1_opens_and_answers(tmp_path: Path) -> None:
    """The file was written by the first release."""
    path = Path(shutil.copy(DATA / "memory-schema-1.sqlite", tmp_path))
    with closing(Memory.open(path)) as memory:
        first, second, third = memory.entries(limit=9, parts=Parts.VECTOR).entries
        query = Query(np.array([[0, 0, 0.6, 0.8]], np.float32), 2)

        (found,) = memory.nearest([query])

        assert memory.identity.name == "birds"
        assert memory.identity.embedder == '{"name": "fake"}'
        assert (first.id, first.label, first.metadata) == ("a", "crow", {"source": "web"})
        assert (second.id, second.label, second.metadata) == ("b", "Häher", {})
        assert third.vector is not None
        assert third.vector.tolist() == [0, 0, 0, 1]
        assert third.content_sha256 == bytes(range(32))
        assert found.ids.tolist() == [["c", "b"]]
        assert memory.recall(Request("first", b"fingerprint")) == ["a", "b", "c"]
        assert memory.delete(["a"]) == ["a"]


def test_a_memory_of_schema_3_opens_with_its_pictures(tmp_path: Path) -> None:
    path = Path(shutil.copy(DATA / "memory-schema-3.sqlite", tmp_path))
    with closing(Memory.open(path)) as memory:
        first, second, third = memory.entries(limit=9, parts=Parts.IMAGE).entries

        assert memory.identity.store_images
        assert (first.id, first.image) == ("a", b"image of a")
        assert (second.id, second.image, bool(second.pruned_by)) == ("b", b"", True)
        assert (third.id, third.image) == ("c", b"")
        assert memory.thumbnails(["a", "b"]) == {"a": b"small a"}


def test_what_answers_and_results_of_schema_6_kept_of_entries_is_gone(tmp_path: Path) -> None:
    path = Path(shutil.copy(DATA / "memory-schema-6.sqlite", tmp_path))
    chance = random.Random(0)
    names = [f"{chance.getrandbits(96):024x}" for _ in range(500)]
    results = {
        "birds/1": ("assess", {"confusion": {"crow": {"a lost label": 1}, "a lost label": {}}}),
        "birds/2": ("prune", {"ids": ["x"], "labels": {"a lost label": 1}}),
        "birds/3": ("prune", {"ids": ["x"], "labels": {"crow": 1}}),
        "birds/4": ("relabel", {"ids": ["a lost label"]}),
    }
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany(
            "INSERT INTO requests VALUES (?, -1, x'00', ?, 0, 0)",
            [
                (name, json.dumps({"id": "a", "label": f"secret {name}", "metadata": {"k": name}}))
                for name in names
            ],
        )
        db.execute("INSERT INTO requests VALUES ('erased', -1, x'', 'null', 0, 0)")
        db.executemany(
            "INSERT INTO operations VALUES (?, ?, 'done', ?, NULL, 0, 0, NULL)",
            [(name, kind, json.dumps(result)) for name, (kind, result) in results.items()],
        )
        db.execute("INSERT INTO relabels SELECT 'birds/4', key, 'a dead label', NULL FROM entries")

    with closing(Memory.open(path)) as memory:
        assert memory.recall(Request(names[0], b"\0")) == ["a"]
        with pytest.raises(RequestErased):
            memory.recall(Request("erased", b""))
        left = {name: memory.operations.get(name).result for name in results}

    assert left["birds/1"] is left["birds/2"] is None
    assert left["birds/3"] == json.dumps(results["birds/3"][1])
    data = path.read_bytes()
    assert b"secret " not in data
    assert data.count(b"a dead label") == 1  # of the one that an undo would bring back


@pytest.mark.parametrize("schema", [4, 5, 6, 7])
@pytest.mark.parametrize(
    "damage",
    ["UPDATE entries SET label = 'jay' WHERE id = 'b'", "DELETE FROM vectors WHERE key = 1"],
)
def test_a_damaged_file_of_an_older_schema_is_not_sealed(
    schema: int, damage: str, tmp_path: Path
) -> None:
    path = Path(shutil.copy(DATA / f"memory-schema-{schema}.sqlite", tmp_path))
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(damage).rowcount == 1

    before = rows_of(path)

    for _ in range(2):
        with pytest.raises(CorruptStore, match="is damaged"):
            Memory.open(path)

    assert rows_of(path) == before


@pytest.mark.parametrize("number", range(1, len(MEMORY_STEPS)))
def test_a_migration_that_fails_at_its_end_leaves_the_file_as_it_was(
    number: int, tmp_path: Path
) -> None:
    path = Path(shutil.copy(DATA / f"memory-schema-{number}.sqlite", tmp_path))
    steps = (*MEMORY_STEPS[:-1], f"{MEMORY_STEPS[-1]} INSERT INTO nowhere VALUES (1);")
    before = rows_of(path)

    with closing(connect(path)) as db, pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(db, steps, path)

    assert rows_of(path) == before


@pytest.mark.parametrize("path", sorted(DATA.glob("memory-schema-*.sqlite")), ids=str)
def test_a_migrated_file_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    copy = shutil.copy(path, tmp_path)
    Memory.open(Path(copy)).close()
    tables = "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name"

    with closing(sqlite3.connect(copy)) as old, closing(sqlite3.connect(":memory:")) as new:
        migrate(new, MEMORY_STEPS, Path("new"))

        assert old.execute(tables).fetchall() == new.execute(tables).fetchall()


OPERATION = (
    "name, kind, principal, state, problem, created_at, ended_at, undone_at, length(result), result"
)


@pytest.mark.parametrize("schema", [9, 10, 11])
def test_operations_are_those_of_before_a_migration(schema: int, tmp_path: Path) -> None:
    path = Path(shutil.copy(DATA / f"memory-schema-{schema}.sqlite", tmp_path))
    with closing(sqlite3.connect(path)) as db:
        db.executemany(
            "INSERT INTO operations (name, kind, state, result, problem, created_at, ended_at, "
            "undone_at, principal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                ("birds/1", "relabel", "done", "[" + "1, " * 9999 + "1]", None, 1, 2, 3, "ann"),
                ("birds/2", "prune", "failed", None, "for a reason", 4, 5, None, "ben"),
                ("birds/3", "unlearn", "cancelled", "{}", "", 6, None, None, "local"),
            ],
        )
        sums.add_functions(db)
        sums.write(db)
        db.commit()
        of_entries = "SELECT key, pruned_by, relabelled_by FROM entries"
        wanted = [
            db.execute(query).fetchall()
            for query in (f"SELECT {OPERATION} FROM operations ORDER BY name", of_entries)
        ]

    Memory.open(path).close()

    with closing(sqlite3.connect(path)) as db:
        found = [
            db.execute(query).fetchall()
            for query in (f"SELECT {OPERATION} FROM operations ORDER BY name", of_entries)
        ]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert found == wanted


def test_a_file_is_kept_for_every_schema() -> None:
    kept = {path.name for path in DATA.glob("memory-schema-*.sqlite")}

    assert kept == {f"memory-schema-{number}.sqlite" for number in range(1, len(MEMORY_STEPS) + 1)}


@pytest.mark.parametrize("number", range(1, len(CATALOG_STEPS) + 1))
def test_a_catalog_of_every_schema_opens_and_answers(number: int, tmp_path: Path) -> None:
    """The files were written by the releases that had them."""
    shutil.copy(DATA / f"catalog-schema-{number}.sqlite", tmp_path / "catalog.sqlite")
    (tmp_path / "keys").mkdir()
    if number > 1:
        shutil.copy(DATA / f"catalog-schema-{number}.key", tmp_path / "keys" / "tombstones.key")
    tables = "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name"

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == ["birds"]
        assert catalog.recall(Request("made", b"fingerprint")) is not None
        assert catalog.recall(Request("dropped", b"fingerprint")) is not None
        assert catalog.recall(Request("never", b"fingerprint")) is None
    with (
        closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as old,
        closing(sqlite3.connect(":memory:")) as new,
    ):
        migrate(new, CATALOG_STEPS, Path("new"))

        assert old.execute(tables).fetchall() == new.execute(tables).fetchall()


@pytest.mark.parametrize("number", range(2, len(CATALOG_STEPS) + 1))
def test_a_catalog_of_an_older_schema_asks_for_its_secret(number: int, tmp_path: Path) -> None:
    shutil.copy(DATA / f"catalog-schema-{number}.sqlite", tmp_path / "catalog.sqlite")

    with pytest.raises(LostSecret):
        Catalog(tmp_path)


def test_a_newer_catalog_is_refused_and_the_folder_is_free_again(tmp_path: Path) -> None:
    Catalog(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")

    for _ in range(2):
        with pytest.raises(NewerStore, match=r"catalog\.sqlite has schema 99") as refusal:
            Catalog(tmp_path)

    assert refusal.value.known == len(CATALOG_STEPS)
