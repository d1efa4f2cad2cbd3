"""The codes in a file are those of its entries; one that is not as written is made again."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import folder_in_ram

from visual_memory_index import Entry, Memory, Query, unit_rows
from visual_memory_index.codes.planes import Planes
from visual_memory_index.errors import CorruptStore, DiskFull
from visual_memory_index.files import database, read_ahead
from visual_memory_index.files.checksums import add_functions
from visual_memory_index.files.database import PAGE_BYTES
from visual_memory_index.files.migrations import MEMORY_STEPS, migrate
from visual_memory_index.records.entry import CodedEntries, VotingEntries
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.sqlite import store
from visual_memory_index.sqlite.codes import random_numbers, read, sealed
from visual_memory_index.sqlite.entries import read_vectors
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.store import new_identity

DISK, RAM = ScannedIndexes(1, "disk"), ScannedIndexes(1)
D = 21
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((40, D)).astype(np.float32))
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "prune", "undo", "ram", "disk"]), st.integers(0, 7)
    )
)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(make(tmp_path)) as made:
        yield made


def make(folder: Path) -> Memory:
    memory = Memory.create(folder / "m.sqlite", new_identity("m", D, None), indexes=DISK)
    insert(memory, *range(20))
    return memory


def again(memory: Memory, indexes: ScannedIndexes = DISK) -> Memory:
    """Close a memory and open it anew."""
    memory.close()
    return Memory.open(memory.path, indexes=indexes)


def insert(memory: Memory, *numbers: int) -> None:
    entries = [Entry(f"{number}", "x") for number in numbers]
    memory.insert(entries, VECTORS[list(numbers)], replace_existing=True)


def stored(memory: Memory) -> dict[int, bytes]:
    """Return the stored codes by key."""
    with closing(sqlite3.connect(memory.path)) as db:
        return dict(db.execute("SELECT key, code FROM codes"))


def of_entries(memory: Memory, condition: str = "TRUE") -> dict[int, bytes]:
    """Return the codes that the stored vectors have, by key."""
    with closing(sqlite3.connect(memory.path)) as db:
        rows = db.execute(
            "SELECT key, vector, vector_checksum FROM entries JOIN vectors USING (key) "
            f"WHERE {condition} ORDER BY key"
        ).fetchall()
    keys = [key for key, *_ in rows]
    vectors = np.frombuffer(b"".join(vector for _, vector, _ in rows), "<f4").reshape(-1, D)
    checksums = np.array([each for *_, each in rows], np.int64)
    data = sealed(np.array(keys, np.int64), Planes(D).encode(vectors), checksums)
    return {key: code.tobytes() for key, code in zip(keys, data, strict=True)}


def answers(memory: Memory) -> list[list[str]]:
    (found,) = memory.nearest([Query(VECTORS[:9], 5)])
    return [row.tolist() for row in found.ids]


@settings(max_examples=60, deadline=None)
@given(WRITES)
def test_codes_are_those_of_the_entries_whatever_is_written(writes: list[tuple[str, int]]) -> None:
    with folder_in_ram() as folder:
        memory, kept, pruned = make(Path(folder)), "disk", list[str]()
        for write, number in writes:
            match write:
                case "insert":
                    insert(memory, number, 20 + number)
                case "delete":
                    memory.delete([f"{number}"], allow_missing=True)
                case "prune" if memory.votes([f"{number}"])[0] and not memory._engine.ram.pruned:
                    pruned.append(memory.operations.begin("prune").operation.name)
                    memory.operations.prune([f"{number}"], operation=pruned[-1], result=str)
                case "undo" if pruned:
                    memory.operations.undo(pruned.pop())
                case "ram" | "disk":
                    kept = write
                    memory = again(memory, DISK if kept == "disk" else RAM)
        found, made = stored(memory), of_entries(memory)
        with closing(again(memory)) as memory:
            assert found.items() <= made.items()
            assert answers(memory) == answers(again(memory, RAM))
            memory = again(memory)
            voting = of_entries(memory, "pruned_by IS NULL")
            assert voting.items() <= stored(memory).items() <= made.items()
            assert memory.check().entry_count == len(made)


def test_they_are_kept_from_the_first_insert_on_where_vectors_are_on_disk(memory: Memory) -> None:
    insert(memory, 30)

    assert len(stored(memory)) == 21
    assert stored(memory) == of_entries(memory)
    with closing(again(memory, RAM)) as in_ram:
        insert(in_ram, 31)
        in_ram.delete(["0"])
        assert len(stored(in_ram)) == 20


def test_a_start_reads_no_vector_that_has_a_code(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[int]()

    def noted(db: sqlite3.Connection, keys: np.ndarray) -> object:
        read.extend(keys.tolist())
        return read_vectors(db, keys)

    monkeypatch.setattr(store, "read_vectors", noted)
    before = stored(memory)
    memory = again(memory)
    assert not read
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM codes WHERE key IN (3, 7)")

    with closing(again(memory)) as memory:
        assert read == [3, 7]
        assert stored(memory) == before


@pytest.mark.parametrize("read", ["codes", "vectors", "vectors without codes"])
@pytest.mark.parametrize("pruned", [range(0), range(360), range(0, 400, 2)])
def test_rows_were_read_ahead_before_they_are_listed(
    read: str, pruned: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAGE_BYTES", 512)
    memory = Memory.create(tmp_path / "m.sqlite", new_identity("m", D, None), indexes=DISK)
    rng, ids = np.random.default_rng(1), [f"number {number:03}" for number in range(400)]
    vectors = unit_rows(rng.standard_normal((400, D)).astype(np.float32))
    memory.insert([Entry(id, "x") for id in ids], vectors)
    if pruned:
        operation = memory.operations.begin("prune").operation.name
        memory.operations.prune([ids[row] for row in pruned], operation=operation, result=str)
    memory.close()
    if read == "vectors without codes":
        with closing(sqlite3.connect(memory.path)) as db, db:
            db.execute("DELETE FROM codes")
    encode, data, asked = Planes(D).encode, memory.path.read_bytes(), list[bytes]()
    listed = encode(vectors) if read == "codes" else vectors

    def note(file: int, start: int, size: int, advice: int) -> None:
        asked.append(data[start : start + size])

    monkeypatch.setattr(os, "posix_fadvise", note)
    monkeypatch.setattr(read_ahead, "READ_AHEAD", 1 << 13)
    monkeypatch.setattr(read_ahead, "READ_AT_ONCE", 1 << 10)
    monkeypatch.setattr(store, "LOADED_AT_ONCE", 10)
    monkeypatch.setattr(store, "CODED_AT_ONCE", 10)
    with closing(SqliteStore(memory.path)) as opened:
        before = data  # of the first part
        parts = opened.rows(D) if read == "vectors" else opened.coded_rows(D, encode)
        for number, (_, entries) in enumerate(parts):
            assert isinstance(entries, VotingEntries | CodedEntries)
            for id in entries.ids:
                assert id.encode() in before
                assert listed[ids.index(id)].tobytes() in before
            before = b"|".join(asked)
            assert number > 5 or len(before) < len(data) / 2


@pytest.mark.parametrize("first", range(101, 107))  # in one of these cases it ends its page
def test_vectors_are_read_ahead_where_most_codes_of_a_part_lack(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAGE_BYTES", 512)
    monkeypatch.setattr(store, "CODED_AT_ONCE", 50)
    monkeypatch.setattr(read_ahead, "READ_AHEAD", 1 << 10)
    monkeypatch.setattr(read_ahead, "READ_AT_ONCE", 1 << 9)
    vectors = unit_rows(np.random.default_rng(1).standard_normal((200, D)).astype(np.float32))
    memory = Memory.create(tmp_path / "m.sqlite", new_identity("m", D, None), indexes=DISK)
    memory.insert([Entry(f"number {number:03}", "x") for number in range(200)], vectors)
    memory.close()
    data, asked = memory.path.read_bytes(), list[bytes]()

    def note(file: int, start: int, size: int, advice: int) -> None:
        asked.append(data[start : start + size])

    def vectors_read() -> set[int]:
        """Delete codes, and return which rows' vectors were read ahead."""
        asked.clear()
        with closing(sqlite3.connect(memory.path)) as db, db:
            db.execute("DELETE FROM codes WHERE key = 3 OR key % 7 = 0")
        with closing(SqliteStore(memory.path)) as opened:
            list(opened.coded_rows(D, Planes(D).encode))
        return {row for row in range(200) if any(vectors[row].tobytes() in each for each in asked)}

    monkeypatch.setattr(os, "posix_fadvise", note)
    assert vectors_read() == set()
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM codes WHERE key BETWEEN ? AND 150", (first,))
    found = vectors_read()
    assert first - 1 in found
    assert not found & {*range(80), *range(180, 200)}


@pytest.mark.parametrize("read", ["codes", "vectors", "vectors without codes"])
def test_rows_longer_than_a_page_are_read_ahead_as_a_whole(
    read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAGE_BYTES", 512)
    vectors = np.random.default_rng(1).standard_normal((100, 1000)).astype(np.float32)
    memory = Memory.create(tmp_path / "m.sqlite", new_identity("m", 1000, None), indexes=DISK)
    memory.insert([Entry(f"{number}", "x") for number in range(100)], unit_rows(vectors))
    memory.close()
    if read == "vectors without codes":
        with closing(sqlite3.connect(memory.path)) as db, db:
            db.execute("DELETE FROM codes")
    asked, encode = list[int](), Planes(1000).encode

    monkeypatch.setattr(store, "LOADED_AT_ONCE", 5)
    monkeypatch.setattr(store, "CODED_AT_ONCE", 5)
    monkeypatch.setattr(os, "posix_fadvise", lambda file, start, size, advice: asked.append(size))
    with closing(SqliteStore(memory.path)) as opened:
        list(opened.rows(1000) if read == "vectors" else opened.coded_rows(1000, encode))

    assert sum(asked) > 0.8 * (encode(vectors).nbytes if read == "codes" else vectors.nbytes)


def test_missing_codes_are_made_in_parts(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    before, found = stored(memory), answers(memory)
    memory.close()
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM codes WHERE key % 3 > 0")
    monkeypatch.setattr(store, "LOADED_AT_ONCE", 2)
    monkeypatch.setattr(store, "CODED_AT_ONCE", 7)

    with closing(again(memory)) as memory:
        assert answers(memory) == found
        assert stored(memory) == before


def test_an_entry_that_its_key_does_not_find_gets_no_code_of_another(memory: Memory) -> None:
    """A look-up by a key follows the keys of inner pages, a listing does not."""
    memory.insert([Entry(f"{number}".zfill(1000), "x") for number in range(40)], VECTORS)
    memory.close()
    with closing(sqlite3.connect(memory.path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    data = bytearray(memory.path.read_bytes())
    page = PAGE_BYTES * (root - 1)
    first_cell = page + int.from_bytes(data[page + 12 : page + 14], "big")
    last_key = data[first_cell + 4]  # of the first leaf
    data[first_cell + 4] -= 1
    memory.path.write_bytes(data)
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM codes WHERE key IN (3, ?)", (last_key,))

    with (
        closing(SqliteStore(memory.path)) as damaged,
        pytest.raises(CorruptStore, match="an entry is there that its key does not find"),
    ):
        list(damaged.coded_rows(D, Planes(D).encode))


@pytest.mark.parametrize(
    "damage",
    [
        "code = zeroblob(length(code))",
        "code = zeroblob(3)",
        "code = CAST(x'00' || substr(code, 2) AS BLOB)",
        "code = CAST(substr(code, 1, length(code) - 1) || x'07' AS BLOB)",
        "code = (SELECT code FROM codes WHERE key = 4)",
    ],
)
def test_a_code_that_is_not_as_written_is_made_again(memory: Memory, damage: str) -> None:
    before, found = stored(memory), answers(memory)
    memory.close()
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute(f"UPDATE codes SET {damage} WHERE key = 3")
    assert stored(memory) != before

    with closing(again(memory)) as memory:
        assert stored(memory) == before
        assert answers(memory) == found
        assert memory.check().entry_count == 20


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 31)), min_size=1, unique=True))
def test_bits_that_are_flipped_in_any_words_are_noticed(flipped: list[tuple[int, int]]) -> None:
    codes = Planes(D).encode(VECTORS[:1])
    before = sealed(np.array([7]), codes, np.array([8]))[0, -4:].tolist()
    for word, bit in flipped:
        codes.view("<u4")[0, word] ^= np.uint32(1 << bit)

    assert sealed(np.array([7]), codes, np.array([8]))[0, -4:].tolist() != before


GOLDEN = {
    1: "15c81951baebd101",
    21: "e66cd4d8f88ff368",
    768: "4e182d2fca6eeaa5",
    1280: "ecee194b80075546",
}


@pytest.mark.parametrize("dimension", GOLDEN)
def test_codes_of_files_are_read_as_they_were_written(dimension: int) -> None:
    """Where these change, so must ``CODES_VERSION``, or codes of before are taken for new ones."""
    counted = np.arange(3 * dimension, dtype=np.float32).reshape(3, dimension) % 97 - 40
    codes = Planes(dimension).encode(unit_rows(counted))

    data = sealed(np.arange(3), codes, np.arange(3))

    assert hashlib.sha256(data.tobytes()).hexdigest()[:16] == GOLDEN[dimension]


def test_no_missing_code_is_taken_for_one() -> None:
    """A check of zeros would be right for them where key and checksum happen to give 0."""
    by_key, by_checksum, *_ = map(int, random_numbers(2 + Planes(D).code_bytes // 4))
    zeros = np.zeros((1, Planes(D).code_bytes), np.uint8)
    key = by_checksum & -by_checksum  # the power of 2 in it, without which it has an inverse
    checksum = -by_key * pow(by_checksum // key, -1, 1 << 64) % (1 << 64)
    checksum -= (checksum >> 63) << 64
    assert not sealed(np.array([key]), zeros, np.array([checksum])).any()
    with closing(sqlite3.connect(":memory:")) as db:
        migrate(db, MEMORY_STEPS, Path("m"))
        db.execute(
            "INSERT INTO entries (key, id, label, metadata, created_at, content_sha256, "
            "vector_checksum) VALUES (?, 'a', 'x', '{}', 0, x'', ?)",
            (key, checksum),
        )

        assert read(db, 0, 9, Planes(D).code_bytes).stored.tolist() == [False]


def test_a_code_of_another_vector_is_made_again(memory: Memory) -> None:
    """A person may change the file by hand, and delete the totals of its checksums."""
    memory.close()
    with closing(sqlite3.connect(memory.path, isolation_level=None)) as db:
        add_functions(db)
        db.execute("UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE key = 9)")
        db.execute("UPDATE entries SET vector_checksum = (SELECT crc32(vector) FROM vectors)")
        columns = "key, id, label, metadata, created_at, content_sha256, pruned_by, relabelled_by"
        parts = "vector_checksum, thumbnail_checksum, image_checksum"
        db.execute(f"UPDATE entries SET checksum = checksum({columns}, {parts})")
        db.execute("DELETE FROM sums")
        db.execute("UPDATE memory SET digest = NULL")

    with closing(Memory.open(memory.path, indexes=DISK)) as memory:
        (found,) = memory.nearest([Query(VECTORS[8:9], 20)])
        assert found.distances.max() < 1e-6
        assert stored(memory) == of_entries(memory)


@pytest.mark.parametrize("indexes", [DISK, RAM])
def test_a_start_takes_room_for_all_voting_rows_at_once(
    indexes: ScannedIndexes, tmp_path: Path
) -> None:
    memory = Memory.create(tmp_path / "m.sqlite", new_identity("m", 2, None), indexes=DISK)
    ids = [f"{number}" for number in range(3000)]
    memory.insert([Entry(id, "x") for id in ids], np.ones((3000, 2), np.float32))
    operation = memory.operations.begin("prune").operation.name
    memory.operations.prune(ids[:900], operation=operation, result=str)

    with closing(again(memory, indexes)) as memory:
        assert len(memory._engine.ram._columns._arrays.keys) == 2100


def test_a_full_disk_keeps_no_memory_from_opening(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = answers(memory)
    memory.close()
    with closing(sqlite3.connect(memory.path)) as db, db:
        db.execute("DELETE FROM codes")

    def refuse(*args: object) -> None:
        raise DiskFull(memory.path, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "keep_codes", refuse)
        memory = again(memory)
        assert answers(memory) == found
        assert not stored(memory)
    with closing(again(memory)) as memory:
        assert stored(memory) == of_entries(memory)
