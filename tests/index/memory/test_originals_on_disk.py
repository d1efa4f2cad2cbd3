"""A memory whose vectors are in its file alone answers as one that has them in RAM."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from visual_memory_index import Entry, Memory, unit_rows
from visual_memory_index.errors import CorruptCopy, CorruptStore, MemoryRefusal, TooLittleRam
from visual_memory_index.ram import room
from visual_memory_index.records.neighbors import Query
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.store.store import new_identity

INDEXES = ScannedIndexes(2, "disk")
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((300, 24)).astype(np.float32))
ENTRIES = [Entry(f"{number}", f"{number % 7}") for number in range(len(VECTORS))]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    path = tmp_path / "pets.sqlite"
    with closing(Memory.create(path, new_identity("pets", 24, None), indexes=INDEXES)) as memory:
        memory.insert(ENTRIES, VECTORS)
        yield memory


def nearest(memory: Memory, k: int = 5) -> list[list[str]]:
    """Return the ids of the entries nearest to some vectors."""
    (found,) = memory.nearest([Query(VECTORS[:20], k)])
    return [row.tolist() for row in found.ids]


def test_the_vectors_are_not_in_ram(memory: Memory) -> None:
    index = memory._engine.ram.vectors
    assert isinstance(index, ScannedIndex)

    assert not hasattr(index._rows, "_blocks")
    assert memory.info().originals == "disk"
    assert [row[0] for row in nearest(memory)] == [f"{number}" for number in range(20)]


def test_readers_find_what_is_being_deleted_until_it_is_gone(memory: Memory) -> None:
    over, answers = threading.Event(), list[int]()

    def read() -> None:
        while not over.is_set():
            (found,) = memory.nearest([Query(VECTORS[:4], 50)])
            assert (np.diff(found.distances, axis=1) >= 0).all()
            answers.append(len(found.ids[0]))

    with ThreadPoolExecutor(3) as threads:
        reading = [threads.submit(read) for _ in range(3)]
        try:
            for number in range(60):
                some = ENTRIES[number * 4 : number * 4 + 4]
                memory.delete([each.id for each in some])
                if number % 2:
                    memory.insert(some, VECTORS[number * 4 : number * 4 + 4])
                memory.insert(ENTRIES[250:260], VECTORS[250:260], replace_existing=True)
        finally:
            over.set()
        for each in reading:
            each.result()

    assert set(answers) == {50}
    assert memory.check().entry_count == 300 - 30 * 4
    assert not memory._engine.ram._originals._held  # type: ignore[union-attr]


def test_statistics_follow_writes_that_take_vectors_out_of_the_file(memory: Memory) -> None:
    ids = ENTRIES[:200:3]
    query = Query(VECTORS[:3], 5, head=True, ridge=0.1)

    def scores(memory: Memory) -> bytes:
        (found,) = memory.nearest([query])
        assert found.score is not None
        return found.score().scores.tobytes()

    scores(memory)
    memory.delete([each.id for each in ids])
    memory.insert(ids[:20], VECTORS[100:120])
    memory.insert(ids[:5], VECTORS[:5], replace_existing=True)
    memory.update(ids[3].id, label="6")
    memory.delete([ids[3].id, ids[9].id])
    after = scores(memory)

    memory.close()
    with closing(Memory.open(memory.path)) as in_ram:
        assert scores(in_ram) == after


def test_a_write_that_fails_leaves_all_as_it_was(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = nearest(memory)

    def fail() -> None:
        raise RuntimeError("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(memory._engine.store.database, "_check_in_place", fail)  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="no disk"):
            memory.delete(["3"])

    assert nearest(memory) == before
    assert not memory._engine.ram._originals._held  # type: ignore[union-attr]
    memory.delete(["3"])
    assert nearest(memory)[3] != before[3]


@pytest.mark.parametrize("part", ["upper", "lower", "numbers"])
@pytest.mark.parametrize("kept", ["ram", "disk"])
def test_a_bit_of_a_code_that_flips_in_ram_is_found(memory: Memory, part: str, kept: str) -> None:
    memory.close()
    indexes = INDEXES if kept == "disk" else ScannedIndexes(1)
    with closing(Memory.open(memory.path, indexes=indexes)) as again:
        index = again._engine.ram.vectors
        assert isinstance(index, ScannedIndex)
        (block,) = index._planes.blocks
        getattr(block, part).reshape(-1).view(np.uint8)[40] ^= 1

        with pytest.raises(CorruptCopy):
            again.check()


def test_a_vector_that_is_damaged_in_the_file_is_not_taken(memory: Memory) -> None:
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("UPDATE vectors SET vector = zeroblob(96) WHERE key = 1")

    with pytest.raises(CorruptStore, match="the vector of the entry of key 1"):
        nearest(memory)


def test_an_entry_is_compared_with_its_checksum_before_it_votes(memory: Memory) -> None:
    memory.close()
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("UPDATE entries SET label = 'owl' WHERE key = 1")

    with closing(Memory.open(memory.path, indexes=INDEXES)) as again:
        (found,) = again.nearest([Query(VECTORS[5:6], 1)])
        assert found.ids.tolist() == [["5"]]
        with pytest.raises(CorruptStore, match="the entry of key 1"):
            nearest(again)
        with pytest.raises(CorruptStore, match="the entry of key 1"):
            again.check()


def test_an_entry_that_another_program_deletes_is_missed(memory: Memory) -> None:
    lost = list[MemoryRefusal]()
    memory.watch(lost.append)
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM entries WHERE key = 1")

    for read in (nearest, Memory.snapshot, lambda memory: memory.misleading_counts(3)):
        with pytest.raises(CorruptCopy) as refused:
            read(memory)
        assert lost.pop() is refused.value


def test_work_on_all_entries_has_their_vectors_or_is_refused(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = memory.snapshot()
    memory.delete([each.id for each in ENTRIES[:100]])

    assert snapshot.vectors.gather(np.arange(300)).tobytes() == VECTORS.tobytes()
    (tmp_path / "meminfo").write_text("MemAvailable: 5 kB")
    monkeypatch.setattr(room, "MEMINFO", tmp_path / "meminfo")
    with pytest.raises(TooLittleRam, match="Work on all entries"):
        memory.snapshot()
    with pytest.raises(TooLittleRam, match="remove fewer entries at a time"):
        memory.delete([each.id for each in ENTRIES[100:200]])
    assert memory.delete(["250"]) == ["250"]
    assert memory.check().entry_count == 199
