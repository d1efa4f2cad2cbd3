"""The pairs of a file are those of its entries, whatever was written, and nothing else is left."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import folder_in_ram

from visual_memory_index import Entry, Memory, Query, parse
from visual_memory_index.errors import CorruptStore
from visual_memory_index.store.store import new_identity

DATA = Path(__file__).parents[1] / "data"
VECTOR = np.array([[1.0]], np.float32)
METADATA = st.dictionaries(
    st.sampled_from(["", "x", 'ü"\\', "$.x"]), st.sampled_from(["", "1", "😀\n", "long " * 9])
)
WRITES = st.lists(st.tuples(st.sampled_from("abc"), st.none() | METADATA, st.booleans()))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(Memory.create(tmp_path / "m.sqlite", new_identity("m", 1, None))) as made:
        yield made


def insert(memory: Memory, id: str, **metadata: str) -> None:
    memory.insert([Entry(id, "x", metadata=metadata)], VECTOR, replace_existing=True)


def stored(memory: Memory) -> list[tuple[int, str, str, int]]:
    with closing(sqlite3.connect(memory.path)) as db:
        return db.execute("SELECT * FROM pairs").fetchall()


def of_entries(memory: Memory) -> list[tuple[int, str, str, int]]:
    with closing(sqlite3.connect(memory.path)) as db:
        rows = db.execute("SELECT key, metadata FROM entries").fetchall()
    return [
        (key // 1024, name, value, key)
        for key, metadata in rows
        for name, value in json.loads(metadata).items()
    ]


@settings(max_examples=60, deadline=None)
@given(WRITES)
def test_pairs_are_those_of_the_entries_whatever_is_written(
    writes: list[tuple[str, dict[str, str] | None, bool]],
) -> None:
    with folder_in_ram() as folder:
        path = Path(folder) / "m.sqlite"
        with closing(Memory.create(path, new_identity("m", 1, None))) as memory:
            for id, metadata, update in writes:
                if metadata is None:
                    memory.delete([id], allow_missing=True)
                elif update and id in memory.ids():
                    memory.update(id, metadata=metadata)
                else:
                    insert(memory, id, **metadata)
            assert sorted(stored(memory)) == sorted(of_entries(memory))
            memory.check()
        Memory.open(path).close()


def test_pairs_of_many_entries_are_found_in_all_segments(memory: Memory) -> None:
    metadata = [{"from": "web" if at % 2 else "camera", "at": f"{at}"} for at in range(5000)]
    entries = [Entry(f"{at}", "x", metadata=each) for at, each in enumerate(metadata)]
    memory.insert(entries, VECTOR.repeat(5000, axis=0))
    memory.delete([f"{at}" for at in range(1000, 4000)])  # two segments and more

    counts = {
        text: len(memory._engine.store.keys(filter)[1])
        for text in ("metadata.from = web", "metadata:at", 'metadata.at < "10"', "metadata.no = 1")
        if (filter := parse(text))
    }

    assert {segment for segment, *_ in stored(memory)} == {0, 3, 4}
    assert counts == {
        "metadata.from = web": 1000,
        "metadata:at": 2000,
        'metadata.at < "10"': 2,
        "metadata.no = 1": 0,
    }


def test_nothing_of_a_pair_is_left_in_the_file_of_an_entry_that_went(memory: Memory) -> None:
    for id in "abc":
        insert(memory, id, **{f"the name of {id}": f"the value of {id}"})
    memory.delete(["a"])
    memory.update("b", metadata={})
    memory.close()

    data = memory.path.read_bytes()
    assert [data.count(f"the name of {id}".encode()) for id in "abc"] == [0, 0, 2]
    assert [data.count(f"the value of {id}".encode()) for id in "abc"] == [0, 0, 2]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM pairs WHERE key = 2",
        "INSERT INTO pairs VALUES (0, 'from', 'nowhere', 2)",
        "UPDATE pairs SET value = 'the web' WHERE key = 2",
        "UPDATE pairs SET segment = 1 WHERE key = 2",
        "UPDATE pairs SET key = 1 WHERE key = 2",
    ],
)
def test_pairs_that_are_not_those_of_the_entries_are_found(memory: Memory, change: str) -> None:
    insert(memory, "a")
    insert(memory, "b", **{"from": "web"})
    with closing(sqlite3.connect(memory.path)) as db, db:
        assert db.execute(change).rowcount == 1

    problem = "its table pairs are not those of its entries"
    with pytest.raises(CorruptStore, match=problem):
        memory.check()
    memory.close()
    with pytest.raises(CorruptStore, match=problem):
        Memory.open(memory.path)


@pytest.mark.parametrize("schema", range(1, 11))
def test_a_file_of_an_older_schema_gets_the_pairs_of_its_entries(
    schema: int, tmp_path: Path
) -> None:
    path = Path(shutil.copy(DATA / f"memory-schema-{schema}.sqlite", tmp_path))
    with closing(Memory.open(path)) as memory:
        query = Query(np.array([[1, 0, 0, 0]], np.float32), 9, parse("metadata.source = web"))

        assert sorted(stored(memory)) == sorted(of_entries(memory))
        assert (0, "source", "web", 1) in stored(memory)
        assert memory.nearest([query])[0].ids.tolist() == [["a"]]


def test_a_person_who_deletes_the_totals_gets_pairs_of_the_entries_that_are_there(
    memory: Memory,
) -> None:
    insert(memory, "a", **{"from": "web"})
    memory.close()
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM pairs")
        db.execute("DELETE FROM sums")

    with closing(Memory.open(memory.path)) as opened:
        assert stored(opened) == [(0, "from", "web", 1)]
