"""A check finds every change that was not made by our code, and delays no other call."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from tests.databases import database_of
from tests.index.ram.changes import change
from tests.sealing import seal

from visual_memory_index import Entry, Memory, Parts, unit_rows
from visual_memory_index.errors import BadAuditLog, CorruptCopy, CorruptStore, MemoryClosed
from visual_memory_index.files.database import PAGE_BYTES
from visual_memory_index.memory.check import Checked, Listed, has_entries
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.sqlite import contents as reading
from visual_memory_index.store.contents import StoredEntry
from visual_memory_index.store.store import new_identity

VECTORS = unit_rows(np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32))
PICTURE = b"a picture as it was sent"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """A memory of 40 entries: some with pictures, some pruned, some replaced."""
    identity = new_identity("pets", 8, None, store_images=True)
    with closing(Memory.create(tmp_path / "pets.sqlite", identity)) as memory:
        entries = [
            Entry(
                f"entry {number}",
                "cat" if number % 2 else "dog",
                metadata={"source": "web"},
                content_sha256=sha256(PICTURE).digest() if number < 5 else b"",
                image=PICTURE if number < 5 else b"",
                thumbnail=b"small" if number < 5 else b"",
            )
            for number in range(40)
        ]
        memory.insert(entries, VECTORS)
        memory.insert(entries[:10], VECTORS[10:20], replace_existing=True)
        memory.delete(["entry 39", "entry 7"])
        pruned = memory.operations.begin("prune").operation.name
        memory.operations.prune(["entry 3", "entry 30"], operation=pruned, result=lambda ids: "{}")
        memory.update("entry 3", label="wolf")
        yield memory


def alter(memory: Memory, statement: str, *parameters: Any) -> None:
    """Change the file as another program would that also updates all checksums."""
    with closing(sqlite3.connect(memory.path)) as db, db:
        assert db.execute(statement, parameters).rowcount == 1
        seal(db)


def stored(memory: Memory, column: str, table: str, key: int) -> Any:
    with closing(sqlite3.connect(memory.path)) as db:
        return db.execute(f"SELECT {column} FROM {table} WHERE key = ?", (key,)).fetchone()[0]


def flipped(data: bytes, chance: Random) -> bytes:
    """Return the data with one bit flipped."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def test_a_memory_that_nobody_touched_is_as_it_was_written(memory: Memory) -> None:
    on_progress: list[tuple[int, int]] = []

    checked = memory.check(lambda done, total: on_progress.append((done, total)))

    assert checked == Checked(38, 6, memory.info().digest)
    assert {total for _, total in on_progress} == {38 + 6}
    assert on_progress == sorted(on_progress)


def test_an_empty_memory_is_as_it_was_written(tmp_path: Path) -> None:
    with closing(Memory.create(tmp_path / "m.sqlite", new_identity("m", 8, None))) as memory:
        assert memory.check() == Checked(0, 1, memory.info().digest)


def test_it_is_so_after_a_restart_and_after_more_writes(memory: Memory) -> None:
    memory.close()
    with closing(Memory.open(memory.path)) as again:
        again.insert([Entry("new", "cat")], VECTORS[:1])

        assert again.check().entry_count == 39


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("table", "column"), [("vectors", "vector"), ("images", "image")])
def test_every_flipped_bit_of_a_vector_or_picture_is_found(
    memory: Memory, table: str, column: str, seed: int
) -> None:
    chance = Random(seed)
    with closing(sqlite3.connect(memory.path)) as db:
        key = chance.choice([key for (key,) in db.execute(f"SELECT key FROM {table}")])
    data = flipped(stored(memory, column, table, key), chance)
    alter(memory, f"UPDATE {table} SET {column} = ? WHERE key = ?", data, key)

    with pytest.raises(CorruptStore):
        memory.check()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE entries SET label = 'cau' WHERE id = 'entry 11'", "not those of its digest"),
        ("UPDATE entries SET id = 'entry 99' WHERE id = 'entry 11'", "not those of its digest"),
        (
            "UPDATE entries SET metadata = '{\"source\": \"weB\"}' WHERE id = 'entry 11'",
            "not those of its digest",
        ),
        ("UPDATE entries SET pruned_by = NULL WHERE id = 'entry 3'", "not those of its digest"),
        ("DELETE FROM entries WHERE id = 'entry 11'", "belongs to nothing"),
        (
            "DELETE FROM vectors WHERE key = 12",
            "the vector of the entry of key 12 is not as it was",
        ),
        ("UPDATE memory SET digest = zeroblob(2048)", "not those of its digest"),
        (
            "UPDATE entries SET content_sha256 = zeroblob(32) WHERE id = 'entry 2'",
            "of its images 1 are not as sent",
        ),
        ("UPDATE entries SET pruned_by = 'nothing' WHERE id = 'entry 11'", "belongs to nothing"),
    ],
)
def test_whatever_is_changed_is_found_and_said(
    memory: Memory, statement: str, problem: str
) -> None:
    alter(memory, statement)

    with pytest.raises(CorruptStore, match=problem) as caught:
        memory.check()

    assert memory.path == caught.value.path
    assert "bring this memory back from a backup" in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM audit WHERE number = 2", "event 2 is missing, event 3 is there"),
        ("DELETE FROM audit WHERE number = 5", "it does not end with event 5"),
        ("UPDATE audit SET number = 6 WHERE number = 5", "it does not end with event 5"),
        ("UPDATE audit SET event = 'no' WHERE number = 1", "event 1 cannot be read"),
        ("UPDATE memory SET audit_size = 5", "it does not end with event 4"),
        (
            "UPDATE audit SET event = replace(event, 'local', 'other') WHERE number = 1",
            "event 2 does not follow the one before it",
        ),
        ("UPDATE memory SET audit_peaks = zeroblob(64)", "are not those of its head"),
    ],
)
def test_whatever_is_changed_in_the_audit_log_is_found_and_said(
    memory: Memory, statement: str, problem: str
) -> None:
    alter(memory, statement)

    with pytest.raises(BadAuditLog, match=problem) as caught:
        memory.check()

    assert 'of the memory "pets"' in str(caught.value)
    assert "bring this memory back from a backup" in str(caught.value)


def test_a_log_that_is_gone_as_a_whole_is_found(memory: Memory) -> None:
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM audit")
        db.execute("UPDATE memory SET audit_size = 0, audit_peaks = x'', audit_last = ''")

    with pytest.raises(BadAuditLog, match="it is empty"):
        memory.check()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM audit WHERE number = 5", "it does not end with event 5"),
        ("UPDATE memory SET digest = zeroblob(2048)", "in another state than after its last event"),
    ],
)
def test_a_log_that_does_not_lead_to_the_memory_is_found_when_it_is_opened(
    memory: Memory, statement: str, problem: str
) -> None:
    memory.close()
    alter(memory, statement)

    with pytest.raises(BadAuditLog, match=problem):
        Memory.open(memory.path)


@pytest.mark.parametrize(
    "text",
    [
        '{"call":"x"}',
        "[]",
        '{"call":"x","count":-1,"digest":"","number":0,"previous":"","principal":"","time":0}',
        '{"call":"x","count":1.5,"digest":"","number":0,"previous":"","principal":"","time":0}',
        '{"call":1,"count":1,"digest":"","number":0,"previous":"","principal":"","time":0}',
        '{"call":"x","count":1,"digest":"","number":true,"previous":"","principal":"","time":0}',
        '{"call":"x","count":1,"digest":"","number":0,"previous":"","principal":"","time":1e99}',
        '{"call":"x", "count":1,"digest":"","number":0,"previous":"","principal":"","time":0}',
    ],
)
def test_what_is_no_event_is_never_listed_as_one(memory: Memory, text: str) -> None:
    alter(memory, "UPDATE audit SET event = ? WHERE number = 0", text)

    with pytest.raises(BadAuditLog, match='of the memory "pets"'):
        memory.audit_events(limit=10)


def alter_alone(path: Path, statement: str) -> None:
    """Change the file as a failing disk would, without updating checksums."""
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(statement).rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET id = 'entry 99' WHERE id = 'entry 11'",
        "UPDATE entries SET label = 'cau' WHERE id = 'entry 11'",
        "UPDATE entries SET metadata = '{' WHERE id = 'entry 11'",
        "UPDATE entries SET created_at = 1 << 62 WHERE id = 'entry 11'",
        "UPDATE entries SET content_sha256 = zeroblob(32) WHERE id = 'entry 2'",
        "UPDATE entries SET pruned_by = NULL WHERE id = 'entry 3'",
        "UPDATE entries SET pruned_by = pruned_by || 'a' WHERE id = 'entry 3'",
        "UPDATE entries SET image_checksum = NULL WHERE id = 'entry 2'",
        "UPDATE entries SET checksum = checksum + 1 WHERE id = 'entry 11'",
        "UPDATE vectors SET vector = zeroblob(32) WHERE key = 12",
        "DELETE FROM vectors WHERE key = 12",
        "DELETE FROM entries WHERE id = 'entry 11'",
        "UPDATE memory SET next_key = 3",
        "UPDATE memory SET name = 'cats'",
        "UPDATE operations SET state = 'failed'",
    ],
)
def test_what_changed_while_it_was_closed_is_found_at_opening(
    memory: Memory, statement: str
) -> None:
    memory.close()
    alter_alone(memory.path, statement)
    there = memory.path.read_bytes()

    for _ in range(2):
        with pytest.raises(CorruptStore, match=r"pets\.sqlite is damaged"):
            Memory.open(memory.path)

    assert memory.path.read_bytes() == there


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE entries SET metadata = '{' WHERE id = 'entry 2'", "the entry of key"),
        ("UPDATE entries SET created_at = 1 << 62 WHERE id = 'entry 2'", "the entry of key"),
        ("UPDATE vectors SET vector = zeroblob(32) WHERE key = 43", "the vector of"),
        ("UPDATE images SET image = x'00' WHERE key = 43", "the image of"),
        ("UPDATE images SET thumbnail = x'00' WHERE key = 43", "the thumbnail of"),
        ("DELETE FROM images WHERE key = 43", "the image of"),
    ],
)
def test_what_changed_since_is_found_when_it_is_read(
    memory: Memory, statement: str, problem: str
) -> None:
    parts = Parts.VECTOR | Parts.IMAGE | Parts.THUMBNAIL
    alter_alone(memory.path, statement)

    damaged = pytest.raises(CorruptStore, match=rf"is damaged \({problem}.*not as it was written")
    with damaged:
        memory.entry("entry 2", parts)
    with damaged:
        memory.entries(limit=100, parts=parts)
    if "images" in statement:
        with damaged:
            memory.images(["entry 2"]) and memory.thumbnails(["entry 2"])
    else:
        with damaged:
            memory.update("entry 2", label="wolf")

    assert memory.entry("entry 11").label == "cat"


def garble_root(memory: Memory, name: str, garble: Callable[[Path, int, int], None]) -> None:
    with closing(sqlite3.connect(memory.path)) as db:
        find = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (page,) = db.execute(find, (name,)).fetchone()
    garble(memory.path, page, PAGE_BYTES)


def test_a_damaged_page_is_found(memory: Memory, garble: Callable[[Path, int, int], None]) -> None:
    memory.close()
    garble_root(memory, "images", garble)

    with closing(Memory.open(memory.path)) as opened, pytest.raises(CorruptStore):
        opened.check()


def test_a_damaged_index_is_found_at_opening(
    memory: Memory, garble: Callable[[Path, int, int], None]
) -> None:
    memory.close()
    garble_root(memory, "requests_by_age", garble)

    with pytest.raises(CorruptStore, match=r"is damaged \(Tree .*\); stop the server"):
        Memory.open(memory.path)


def test_a_bit_that_flips_in_ram_is_found_and_a_restart_is_the_way_out(memory: Memory) -> None:
    block, *_ = memory._engine.ram.vectors.blocks()
    block.view(np.uint32)[20, 3] ^= 1

    with pytest.raises(CorruptCopy, match="restart the server"):
        memory.check()

    memory.close()
    with closing(Memory.open(memory.path)) as again:
        assert again.check().entry_count == 38


@pytest.mark.parametrize("votes", [True, False])
@pytest.mark.parametrize("column", ["texts", "hashes", "labels", "keys"])
def test_a_bit_of_a_column_that_flips_in_ram_is_found(
    memory: Memory, column: str, votes: bool
) -> None:
    ram = memory._engine.ram
    arrays = ram._columns._arrays if votes else ram.pruned._arrays
    place = int(arrays.starts[1]) if column == "texts" else 0
    getattr(arrays, column).view(np.uint8)[place] ^= 1

    with pytest.raises(CorruptCopy, match="restart the server"):
        memory.check()


@pytest.mark.parametrize(
    "change",
    [
        lambda ram: change(ram, relabelled={"entry 11": "cau"}),
        lambda ram: change(ram, relabelled={"entry 3": "cau"}),
        lambda ram: change(ram, removed=["entry 11"]),
        lambda ram: change(ram, removed=["entry 3"]),
        lambda ram: change(ram, pruned=["entry 11"]),
    ],
)
def test_entries_in_ram_that_are_not_those_of_the_file_are_found(
    memory: Memory, change: Callable[[RamCopy], None]
) -> None:
    change(memory._engine.ram)

    with pytest.raises(CorruptCopy):
        memory.check()


def test_others_write_and_read_while_it_runs(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", 3)
    before, written = memory.info().digest, 0

    def write(done: int, total: int) -> None:
        nonlocal written
        written += 1
        memory.insert([Entry(f"new {written}", "cat")], VECTORS[:1])
        memory.delete([f"entry {written + 9}"])
        memory.update("entry 35", label=f"label {written}")

    checked = memory.check(write)

    assert written > 10
    assert checked == Checked(38, 6, before)
    assert memory.check() == Checked(38, 6 + 3 * written, memory.info().digest)


class Stop(Exception):
    """An error that the test's progress function raises."""


@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_one_that_is_stopped_ends_at_once_and_holds_nothing_of_the_file(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(reading, "STEPS_AT_ONCE", 50)
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        if calls == after:
            raise Stop
        calls += 1

    with pytest.raises(Stop):
        memory.check(stop)

    assert calls == after
    assert database_of(memory).truncate_log()


def test_one_that_runs_when_the_memory_is_closed_ends(memory: Memory) -> None:
    with pytest.raises(MemoryClosed):
        memory.check(lambda done, total: memory.close())


def test_pictures_and_vectors_come_in_pieces_that_are_soon_hashed(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BYTES_AT_ONCE", 100)

    with memory._engine.store.contents() as contents:
        pieces = [len(piece) for piece in contents.entries()]

    assert sum(pieces) == 38
    assert max(pieces) == 4  # of 32 bytes each


def test_vectors_are_compared_where_both_have_the_key() -> None:
    ram = RamCopy(8, ScannedIndexes())
    ram.add(np.array([1, 3]), ["a", "b"], ["cat", "cat"], VECTORS[:2])
    same = [of(1, "a", VECTORS[0]), of(2, "b", VECTORS[5]), of(9, "c", VECTORS[6])]

    assert has_entries(ram, same)
    assert not has_entries(ram, [*same, of(3, "b", -VECTORS[1])])
    assert not has_entries(ram, [*same, of(3, "c", VECTORS[1])])
    assert has_entries(ram, [])


def test_entries_are_followed_by_key_and_no_other_may_be_left() -> None:
    ram = RamCopy(8, ScannedIndexes())
    ram.add(np.array([5, 3, 4]), ["e", "c", "d"], ["cat", "cat", "dog"], VECTORS[:3])
    change(ram, pruned=["d"])
    c, d, e = of(3, "c"), of(4, "d", label="dog", votes=False), of(5, "e")

    listed = Listed(ram)
    assert listed.follow([c, d])
    assert listed.follow([e])
    assert listed.end()
    assert not Listed(ram).end()
    assert not Listed(ram).follow([c, e, d._replace(votes=True)])
    assert not Listed(ram).follow([e, c])


def of(
    key: int, id: str, row: Any = VECTORS[0], *, label: str = "cat", votes: bool = True
) -> StoredEntry:
    return StoredEntry(key, id, label, "{}", row.tobytes(), votes, b"", None)
