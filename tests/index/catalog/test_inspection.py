"""A file is inspected without changing it, or reported as damaged."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from visual_memory_index import Entry, Memory
from visual_memory_index.catalog.inspection import look, look_through, name_in
from visual_memory_index.errors import BadAuditLog, CorruptStore, NewerStore
from visual_memory_index.ledger.standing import Found, Noted, Standing
from visual_memory_index.store.store import new_identity

FLIPS = 60
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a memory with one entry, closed."""
    path = tmp_path / "birds.sqlite"
    with closing(Memory.create(path, new_identity("birds", 2, None))) as memory:
        memory.insert([Entry("a", "crow")], np.eye(2, dtype=np.float32)[:1])
    return path


def test_a_file_says_whose_it_is_and_where_it_stands(path: Path) -> None:
    with closing(Memory.open(path)) as memory:
        noted = memory.noted()

    found = look(path, noted)

    assert found == Found("birds", noted.uid, noted.kept, {1: noted.kept.last}, 0, False)
    assert name_in(path) == "birds"
    assert [each.name for each in path.parent.iterdir()] == ["birds.sqlite"]


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_a_file_of_before_logs_stands_nowhere(schema: int) -> None:
    found = look(DATA / f"memory-schema-{schema}.sqlite", Noted("uid", Standing(3, "c")))

    assert found == Found("birds", "", Standing(0, ""))


def test_whatever_is_flipped_it_is_read_or_said_to_be_damaged(path: Path) -> None:
    chance, noted = random.Random(random.random()), Noted("uid", Standing(2, "b"))
    whole = path.read_bytes()
    read = 0
    for _ in range(FLIPS):
        flipped = bytearray(whole)
        at = chance.choice([chance.randrange(100), chance.randrange(len(whole))])
        flipped[at] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        name_in(path)
        try:
            look(path, noted)
            look_through(path)
            read += 1
        except (CorruptStore, NewerStore, BadAuditLog):
            pass
    assert 0 < read < FLIPS


@pytest.mark.parametrize("column", ["name = NULL", "audit_size = 'x'", "uid = x'00'"])
def test_a_memory_that_does_not_say_whose_it_is_is_damaged(path: Path, column: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE other AS SELECT * FROM memory")
        db.execute("DROP TABLE memory")
        db.execute("ALTER TABLE other RENAME TO memory")
        db.execute(f"UPDATE memory SET {column}")

    with pytest.raises(CorruptStore, match="it does not say whose it is"):
        look(path, None)


@pytest.mark.parametrize("left", [b"", b"S"])  # SQLite takes either for a new file
def test_a_file_that_is_empty_is_damaged(left: bytes, path: Path) -> None:
    path.write_bytes(left)

    with pytest.raises(CorruptStore, match="it is empty"):
        look(path, None)

    assert name_in(path) == ""
    assert path.read_bytes() == left


def test_a_log_without_its_memory_is_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM memory")

    with pytest.raises(CorruptStore, match="it holds no memory"):
        look(path, None)
