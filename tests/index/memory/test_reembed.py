"""New vectors of a memory's pictures are kept in parts, and embedded again where one is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.databases import database_of

from visual_memory_index import Entry, Memory, MissingVectors
from visual_memory_index.memory.reembed import NewVectors
from visual_memory_index.store.store import new_identity

COUNT, PART = 6, 2


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    identity = new_identity("m", 4, None, store_images=True)
    with closing(Memory.create(tmp_path / "m.sqlite", identity)) as memory:
        entries = [Entry(f"{number}", "x", image=b"picture") for number in range(COUNT)]
        memory.insert(entries, np.full((COUNT, 4), 0.5, np.float32))
        yield memory


def embed(new: NewVectors) -> list[int]:
    """Store vectors of what is missing; return the keys of those pictures."""
    keys = list[int]()
    while pictures := new.missing(PART):
        part = [each.key for each in pictures]
        new.keep(part, np.array(part, np.float32)[:, np.newaxis] * np.ones(3, np.float32))
        keys += part
    return keys


@pytest.mark.parametrize("damaged", range(COUNT // PART))
def test_after_a_damaged_part_all_are_embedded_again(memory: Memory, damaged: int) -> None:
    new = memory.new_vectors("spec", 3)
    keys = embed(new)
    assert new.of(keys)[:, 0].tolist() == keys

    with database_of(memory).transaction() as db:
        (name,) = db.execute(
            "SELECT name FROM derived ORDER BY name LIMIT 1 OFFSET ?", (damaged,)
        ).fetchone()
        db.execute("UPDATE derived SET checksum = checksum + 1 WHERE name = ?", (name,))
    other = memory.new_vectors("spec", 3)
    with pytest.raises(MissingVectors):
        other.of(keys)

    assert other.count() == 0
    assert embed(other) == keys
    assert other.of(keys)[:, 0].tolist() == keys


def test_after_an_erasure_all_are_embedded_again(memory: Memory) -> None:
    new = memory.new_vectors("spec", 3)
    (first, *_) = new.missing(PART)
    keys = embed(new)
    name = memory.unlearning.begin(["0"], allow_missing=False).operation.name
    memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")

    assert new.count() == 0
    assert embed(new) == [key for key in keys if key != first.key]
