"""Unlearned entries are known by marks, which are in one order with the backups."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from visual_memory_index.catalog.sqlite_registry import AT_ONCE
from visual_memory_index.catalog.sqlite_registry import SqliteRegistryTransaction as registry
from visual_memory_index.catalog.tombstones import BEFORE_ALL, make_secret, mark, read_secret
from visual_memory_index.errors import FileUnavailable, LostSecret
from visual_memory_index.files.checksums import checksum
from visual_memory_index.files.migrations import CATALOG_STEPS, migrate

SECRET = bytes(range(32))
UID = "7" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "tombstones.key"


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, CATALOG_STEPS, Path("catalog"))
        yield connection


def mark_unlearned(db: sqlite3.Connection, *ids: str, uid: str = UID) -> int:
    return registry(db).mark_unlearned(SECRET, uid, ids)


def unlearned_since(
    db: sqlite3.Connection, ids: list[str], since: int, uid: str = UID
) -> list[str]:
    return sorted(registry(db).unlearned_since(SECRET, uid, ids, since))


def test_the_sums_of_marks_move_with_them_also_of_those_that_are_made_anew(
    db: sqlite3.Connection,
) -> None:
    ids = [f"{number}" for number in range(2 * AT_ONCE + 3)]
    mark_unlearned(db, *ids)
    mark_unlearned(db, *ids[:9], *ids[:9], "new")
    kept = "SELECT count, sum FROM sums WHERE name = 'tombstones'"

    assert db.execute(kept).fetchone() == (
        len(ids) + 2,  # the new one, and that of the memory
        sum(map(checksum, db.execute("SELECT mark, tick FROM tombstones"))),
    )


def test_each_backup_and_each_erasure_has_a_tick_of_its_own(db: sqlite3.Connection) -> None:
    first = mark_unlearned(db, "a")
    registry(db).note_backup("monday", UID, 5)
    second = mark_unlearned(db, "b")

    assert (first, registry(db).tick_of_backup("monday"), second) == (1, 2, 3)
    assert registry(db).ticks() == 3


def test_only_what_was_unlearned_later_is_buried(db: sqlite3.Connection) -> None:
    before = mark_unlearned(db, "a", "b")
    registry(db).note_backup("monday", UID, 5)
    since = registry(db).tick_of_backup("monday")
    mark_unlearned(db, "c")

    assert unlearned_since(db, ["a", "b", "c", "d"], since) == ["c"]
    assert unlearned_since(db, ["a", "b", "c", "d"], before) == ["c"]
    assert unlearned_since(db, ["a", "b", "c", "d"], before - 1) == ["a", "b", "c"]
    assert unlearned_since(db, ["a", "b", "c", "d"], registry(db).ticks()) == []


def test_since_a_backup_that_is_not_known_everything_may_have_been_unlearned(
    db: sqlite3.Connection,
) -> None:
    mark_unlearned(db, "a")

    assert registry(db).tick_of_backup("from elsewhere") == BEFORE_ALL
    assert unlearned_since(db, ["a", "b"], BEFORE_ALL) == ["a"]


def test_what_is_unlearned_again_is_unlearned_later(db: sqlite3.Connection) -> None:
    mark_unlearned(db, "a")
    registry(db).note_backup("monday", UID, 5)

    mark_unlearned(db, "a")

    assert unlearned_since(db, ["a"], registry(db).tick_of_backup("monday")) == ["a"]


def test_an_id_is_buried_in_its_own_memory_only(db: sqlite3.Connection) -> None:
    mark_unlearned(db, "a")

    assert unlearned_since(db, ["a"], BEFORE_ALL, uid="8" * 32) == []


def test_very_many_are_found(db: sqlite3.Connection) -> None:
    ids = [f"{number}" for number in range(5000)]

    mark_unlearned(db, *ids[::2])

    assert unlearned_since(db, ids, BEFORE_ALL) == sorted(ids[::2])


def test_a_mark_depends_on_the_secret_the_memory_and_the_id() -> None:
    marks = {
        mark(SECRET, UID, "a"),
        mark(bytes(32), UID, "a"),
        mark(SECRET, UID[1:], "a"),
        mark(SECRET, UID, "b"),
        mark(SECRET, UID[1:], f"{UID[0]}a"),
    }

    assert {len(mark) for mark in marks} == {32}
    assert len(marks) == 5


def test_tombstones_name_nobody(db: sqlite3.Connection) -> None:
    mark_unlearned(db, "Ada Lovelace")

    rows = [line for line in db.iterdump() if line.startswith('INSERT INTO "tombstones"')]

    assert len(rows) == 2  # of the entry, and of the memory
    assert not any("Ada" in row or b"Ada".hex() in row.lower() for row in rows)


def test_another_secret_than_before_is_refused(db: sqlite3.Connection, path: Path) -> None:
    write = registry(db)
    made = write.read_secret(path)

    assert write.read_secret(path) == made
    path.write_bytes(bytes(32))
    with pytest.raises(LostSecret, match="key is missing, or not the one"):
        write.read_secret(path)


def test_what_was_ever_unlearned_is_known_by_its_memory(db: sqlite3.Connection) -> None:
    assert registry(db).unlearned(SECRET, UID, ["a"]) == []
    mark_unlearned(db, "a", "b")
    mark_unlearned(db, "c", uid="8" * 32)

    assert sorted(registry(db).unlearned(SECRET, UID, ["b", "a", "c"])) == ["a", "b"]
    assert registry(db).unlearned(SECRET, "9" * 32, ["a", "b", "c"]) == []


def test_a_secret_is_of_32_random_bytes_that_only_its_owner_reads(path: Path) -> None:
    make_secret(path)
    first = read_secret(path)
    path.unlink()
    make_secret(path)

    assert len(first) == 32
    assert read_secret(path) != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_secret_that_cannot_be_read_is_not_called_lost(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(FileUnavailable, match=r"could not be opened \(not a regular file|is a dir"):
        read_secret(path)


def test_a_secret_that_is_there_stays(path: Path) -> None:
    make_secret(path)
    first = read_secret(path)

    make_secret(path)

    assert read_secret(path) == first


def test_a_start_that_was_cut_short_is_made_good(path: Path) -> None:
    path.parent.mkdir()
    part = path.parent / ".tombstones.key.part"
    part.write_bytes(b"half")

    make_secret(path)

    assert len(read_secret(path)) == 32
    assert not part.exists()


@pytest.mark.parametrize("data", [None, b"", bytes(31), bytes(33)])
def test_a_secret_that_is_missing_or_none_is_refused_by_its_path(
    data: bytes | None, path: Path
) -> None:
    path.parent.mkdir()
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(LostSecret, match="is missing, or not the one") as caught:
        read_secret(path)

    assert caught.value.path == path


def test_a_link_to_nothing_in_the_secrets_place_is_refused_and_stays(
    db: sqlite3.Connection, path: Path
) -> None:
    path.parent.mkdir()
    path.symlink_to(path.parent / "not mounted")

    with pytest.raises(LostSecret):
        registry(db).read_secret(path)

    assert path.is_symlink()
