"""A file other than its memory's latest is refused by name, and not changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.databases import registry_of

from visual_memory_index import Catalog, Entry, Memory
from visual_memory_index.catalog.noted import Latest
from visual_memory_index.errors import (
    EMPTIED,
    CorruptStore,
    DiskFull,
    MemoryRefusal,
    OlderCatalog,
    OlderMemory,
    OtherMemory,
    UnlistedFile,
    WriteFailed,
)
from visual_memory_index.ledger.standing import Noted, Standing

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

ENDS = ("", "-wal")


def insert(memory: Memory, *ids: str) -> None:
    rows = np.tile(np.array([[0.6, 0.8]], np.float32), (len(ids), 1))
    memory.insert([Entry(id, "crow", content_sha256=bytes(32)) for id in ids], rows)


def unlearn(catalog: Catalog, memory: Memory, *ids: str) -> str:
    """Unlearn entries up to their deletion, without ending the operation; return its name."""
    begun = memory.unlearning.begin(ids, allow_missing=False).operation.name
    catalog.mark_unlearned(memory, ids, begun)
    memory.unlearning.erase(begun, settings=(), draft=lambda facts: "{}")
    return begun


def file_of(folder: Path, name: str) -> Path:
    (path,) = (folder / "memories").glob(f"{name}.*.sqlite")
    return path


def bytes_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file and of its log, by suffix."""
    paths = {end: path.with_name(path.name + end) for end in ENDS}
    return {end: path.read_bytes() for end, path in paths.items() if path.exists()}


def put(path: Path, content: Mapping[str, bytes]) -> None:
    """Replace a file and its log by this content, and remove the index of the log."""
    for end in (*ENDS, "-shm"):
        beside = path.with_name(path.name + end)
        beside.unlink(missing_ok=True)
        if end in content:
            beside.write_bytes(content[end])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder, closed, with the memories birds and fish of one entry each."""
    folder = tmp_path / "data"
    with closing(Catalog(folder)) as catalog:
        for name in ("birds", "fish"):
            memory = catalog.create(name, dimension=2, embedder=None)
            assert memory is not None
            with closing(memory):
                insert(memory, f"{name}-a")
                catalog.note(memory)
    return folder


def change(folder: Path, do: Callable[[Catalog, Memory], object], *, stop: bool = True) -> None:
    """Open birds and call ``do``; close it, or leave its files as after a kill if not ``stop``."""
    with closing(Catalog(folder)) as catalog, closing(catalog.open("birds")) as memory:
        do(catalog, memory)
        if stop:
            catalog.note(memory)
        else:
            left = bytes_of(memory.path)
    if not stop:
        put(file_of(folder, "birds"), left)


def two_writes(catalog: Catalog, memory: Memory) -> None:
    for id in "bc":
        insert(memory, id)


def three_writes(catalog: Catalog, memory: Memory) -> None:
    for id in "bcd":
        insert(memory, id)


def refused(folder: Path, error: type[MemoryRefusal], match: str) -> None:
    """Check that birds is refused twice and its file unchanged, and that fish opens."""
    before = bytes_of(file_of(folder, "birds"))
    for _ in range(2):
        with closing(Catalog(folder)) as catalog:
            with pytest.raises(error, match=match):
                catalog.open("birds")
            catalog.open("fish").close()
    assert bytes_of(file_of(folder, "birds")) == before


def opens(folder: Path) -> list[str]:
    """Open birds, and return its ids."""
    with closing(Catalog(folder)) as catalog, closing(catalog.open("birds")) as memory:
        return sorted(memory.ids())


# Whose file it is


def test_files_that_were_exchanged_are_each_refused_by_the_name_they_hold(folder: Path) -> None:
    birds, fish = file_of(folder, "birds"), file_of(folder, "fish")
    kept = bytes_of(birds)
    put(birds, bytes_of(fish))
    put(fish, kept)

    with closing(Catalog(folder)) as catalog:
        with pytest.raises(OtherMemory, match=r'birds\..*\.sqlite holds the memory "fish", not "b'):
            catalog.open("birds")
        with pytest.raises(OtherMemory, match=r'fish\..*\.sqlite holds the memory "birds", not "f'):
            catalog.open("fish")


def test_a_memory_of_the_same_name_from_elsewhere_is_another(folder: Path, tmp_path: Path) -> None:
    with closing(Catalog(tmp_path / "other")) as other:
        memory = other.create("birds", dimension=2, embedder=None)
        assert memory is not None
        with closing(memory):
            insert(memory, "x", "y")
    shutil.copy(file_of(tmp_path / "other", "birds"), file_of(folder, "birds"))

    refused(folder, OtherMemory, "holds another memory of that name")


def test_a_file_that_was_renamed_is_named_and_so_is_the_one_that_is_missing(folder: Path) -> None:
    file_of(folder, "birds").rename(folder / "memories" / "swans.sqlite")

    with closing(Catalog(folder)) as catalog:
        with pytest.raises(CorruptStore, match="the file is missing"):
            catalog.open("birds")
        with pytest.raises(UnlistedFile) as unlisted:
            catalog.open("swans")

    assert unlisted.value.name == "birds"
    assert str(unlisted.value).startswith(
        'swans.sqlite holds the memory "birds", but the list of memories has no such file'
    )


def test_a_file_that_is_no_memory_is_named_too(folder: Path) -> None:
    (folder / "memories" / "x.sqlite").write_bytes(b"nothing" * 10_000)

    with (
        closing(Catalog(folder)) as catalog,
        pytest.raises(UnlistedFile, match=r"^x\.sqlite may hold a memory"),
    ):
        catalog.open("x")


def test_no_file_of_a_memory_that_is_listed_dropped_or_made_is_unlisted(folder: Path) -> None:
    with closing(Catalog(folder)) as catalog:
        catalog.drop("fish")

        assert catalog.names() == ["birds"]


# A catalog that lost a write


def test_a_memory_that_was_ready_outlives_a_catalog_that_lost_this(folder: Path) -> None:
    with closing(Catalog(folder)) as catalog, registry_of(catalog).transaction() as db:
        db.execute("UPDATE memories SET state = 'creating'")
        db.execute("DELETE FROM noted")

    assert opens(folder) == ["birds-a"]


# A file from before


def test_a_file_from_before_edits_is_refused(folder: Path) -> None:
    before = bytes_of(file_of(folder, "birds"))
    change(folder, two_writes)
    put(file_of(folder, "birds"), before)

    refused(folder, OlderMemory, "has 2 events, but 4 were noted, so 2 acknowledged writes are")


def test_a_file_from_before_an_unlearning_is_refused(folder: Path) -> None:
    before = bytes_of(file_of(folder, "birds"))
    change(folder, lambda catalog, memory: unlearn(catalog, memory, "birds-a"))
    put(file_of(folder, "birds"), before)
    (folder / "noted" / file_of(folder, "birds").stem).unlink()

    refused(folder, OlderMemory, "so 1 acknowledged write is missing")


def test_a_file_with_another_history_is_refused(folder: Path) -> None:
    before = bytes_of(file_of(folder, "birds"))
    change(folder, lambda catalog, memory: insert(memory, "b"))
    shutil.copytree(folder, folder.parent / "there")
    there = file_of(folder.parent / "there", "birds")
    put(there, before)
    with closing(Memory.open(there)) as memory:
        insert(memory, "c")
        insert(memory, "d")
    shutil.copy(there, file_of(folder, "birds"))

    refused(folder, OlderMemory, "event 2 of its audit log is another than was noted")


def test_a_file_that_is_newer_than_what_was_noted_opens(folder: Path) -> None:
    with closing(Memory.open(file_of(folder, "birds"))) as memory:
        insert(memory, "b")

    assert opens(folder) == ["b", "birds-a"]
    assert opens(folder) == ["b", "birds-a"]


def test_an_unlearning_that_was_cut_short_goes_on_and_a_file_from_before_it_is_refused(
    folder: Path,
) -> None:
    """Between marks and deletion, the audit log has no event of the unlearning yet."""
    before = bytes_of(file_of(folder, "birds"))

    def mark(catalog: Catalog, memory: Memory) -> None:
        begun = memory.unlearning.begin(["birds-a"], allow_missing=False).operation.name
        catalog.mark_unlearned(memory, ["birds-a"], begun)

    change(folder, mark, stop=False)
    since = bytes_of(file_of(folder, "birds"))

    put(file_of(folder, "birds"), before)
    refused(folder, OlderMemory, "it has not the operation birds/")
    put(file_of(folder, "birds"), since)
    assert opens(folder) == ["birds-a"]


def test_an_unlearning_that_was_cut_short_after_it_deleted_is_noted_at_the_next_start(
    folder: Path,
) -> None:
    change(folder, lambda catalog, memory: unlearn(catalog, memory, "birds-a"), stop=False)
    assert opens(folder) == []
    with closing(Catalog(folder)) as catalog, registry_of(catalog).reading() as db:
        assert db.execute("SELECT erasing FROM noted ORDER BY file").fetchall() == [(None,)] * 2


def test_an_unlearning_whose_entries_were_deleted_before_it_is_noted_as_ended(
    folder: Path,
) -> None:
    def delete_first(catalog: Catalog, memory: Memory) -> None:
        begun = memory.unlearning.begin(["birds-a"], allow_missing=False).operation.name
        catalog.mark_unlearned(memory, ["birds-a"], begun)
        memory.delete(["birds-a"])
        memory.unlearning.erase(begun, settings=(), draft=lambda facts: "{}")

    change(folder, delete_first)
    with closing(Catalog(folder)) as catalog, registry_of(catalog).reading() as db:
        assert db.execute("SELECT erasing FROM noted ORDER BY file").fetchall() == [(None,)] * 2


# A catalog from before


def test_a_catalog_that_has_no_marks_of_what_was_unlearned_is_noticed(folder: Path) -> None:
    catalog = bytes_of(folder / "catalog.sqlite")
    change(folder, lambda catalog, memory: unlearn(catalog, memory, "birds-a"))
    put(folder / "catalog.sqlite", catalog)

    refused(folder, OlderCatalog, "with an unlearning that")


def test_a_catalog_of_before_other_edits_is_as_good_as_that_of_now(folder: Path) -> None:
    catalog = bytes_of(folder / "catalog.sqlite")
    change(folder, lambda catalog, memory: insert(memory, "b"))
    put(folder / "catalog.sqlite", catalog)

    assert opens(folder) == ["b", "birds-a"]


def test_where_all_is_of_before_nothing_can_be_noticed(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "before")
    change(folder, lambda catalog, memory: unlearn(catalog, memory, "birds-a"))

    assert opens(folder.parent / "before") == ["birds-a"]


# A write-ahead log that was lost, damaged, or is another


def test_after_a_kill_all_that_was_acknowledged_is_there(folder: Path) -> None:
    change(folder, three_writes, stop=False)

    assert opens(folder) == ["b", "birds-a", "c", "d"]


def test_what_a_lost_log_had_is_counted(folder: Path) -> None:
    change(folder, three_writes, stop=False)
    file_of(folder, "birds").with_name(file_of(folder, "birds").name + "-wal").unlink()

    refused(folder, OlderMemory, "has 2 events, but 5 were noted, so 3 acknowledged writes are")


def test_what_sqlite_drops_of_a_damaged_log_is_counted(folder: Path) -> None:
    change(folder, three_writes, stop=False)
    path = file_of(folder, "birds")
    content = bytes_of(path)
    log = bytearray(content["-wal"])
    log[len(log) // 2] ^= 1
    put(path, {**content, "-wal": bytes(log)})

    refused(folder, OlderMemory, r"has [34] events, but 5 were noted, so [12] acknowledged write")


def test_a_log_of_before_beside_a_file_of_now_is_refused_and_not_folded_into_it(
    folder: Path,
) -> None:
    change(folder, lambda catalog, memory: insert(memory, "x"), stop=False)
    log = bytes_of(file_of(folder, "birds"))["-wal"]
    change(folder, three_writes)
    now = bytes_of(file_of(folder, "birds"))
    assert list(now) == [""]
    put(file_of(folder, "birds"), {**now, "-wal": log})

    refused(folder, OlderMemory, "has 3 events, but 6 were noted")
    put(file_of(folder, "birds"), now)
    assert opens(folder) == ["b", "birds-a", "c", "d", "x"]


def test_a_log_of_now_beside_a_file_of_before_is_looked_through(folder: Path) -> None:
    """The file already has the first changes of the log, so the audit log has no gap."""
    before = bytes_of(file_of(folder, "birds"))
    change(folder, lambda catalog, memory: memory.update("birds-a", label="owl"))
    change(folder, lambda catalog, memory: memory.keep_setting("x", "y", call="Set"), stop=False)
    since = bytes_of(file_of(folder, "birds"))
    assert opens(folder) == ["birds-a"]
    put(file_of(folder, "birds"), {**since, "": before[""]})

    for _ in range(2):
        with (
            closing(Catalog(folder)) as catalog,
            pytest.raises(CorruptStore, match="its entries are not those of its digest"),
        ):
            catalog.open("birds")


def test_a_damaged_file_and_its_log_stay_as_they_are(folder: Path) -> None:
    birds, modified = file_of(folder, "birds"), file_of(folder, "birds").stat().st_mtime_ns
    change(folder, lambda _, memory: memory.keep_setting("a", "b", call="A"), stop=False)
    birds.write_bytes(birds.read_bytes().replace(b"birds-a", b"birds-z"))
    os.utime(birds, ns=(modified, modified))  # as a disk flips bits

    refused(folder, CorruptStore, "is damaged")


def test_a_damaged_catalog_and_its_log_stay_as_they_are(folder: Path) -> None:
    with closing(Catalog(folder)) as catalog, closing(catalog.open("birds")) as memory:
        insert(memory, "b")
        catalog.note(memory)
        killed = bytes_of(folder / "catalog.sqlite")
    put(folder / "catalog.sqlite", {**killed, "": killed[""].replace(b"birds.", b"birdz.")})
    before = bytes_of(folder / "catalog.sqlite")

    for _ in range(2):
        with pytest.raises(CorruptStore, match=r"catalog\.sqlite is damaged"):
            Catalog(folder)

    assert bytes_of(folder / "catalog.sqlite") == before


@pytest.mark.parametrize("left", [b"", b"S"])  # SQLite takes either for a new file
@pytest.mark.parametrize("stop", [True, False])
def test_an_emptied_file_is_damaged_and_its_log_stays(
    left: bytes, stop: bool, folder: Path
) -> None:
    change(folder, two_writes, stop=stop)
    file_of(folder, "birds").write_bytes(left)

    refused(folder, CorruptStore, r"\(it is empty")
    with closing(Catalog(folder)) as catalog, pytest.raises(CorruptStore, match=r"\(it is empty"):
        catalog.doubt("birds")


def test_what_the_log_of_an_emptied_file_holds_is_recovered_as_its_refusal_says(
    tmp_path: Path,
) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        memory = catalog.create("birds", dimension=2, embedder=None)
        assert memory is not None
        with closing(memory):
            insert(memory, "a", "b")
            memories, listed = bytes_of(memory.path), bytes_of(tmp_path / "catalog.sqlite")
    file = file_of(tmp_path, "birds")
    put(file, {**memories, "": b""})
    put(tmp_path / "catalog.sqlite", {**listed, "": b""})

    for path in (tmp_path / "catalog.sqlite", file):
        for _ in range(2):
            with pytest.raises(CorruptStore, match=EMPTIED) as refusal:
                opens(tmp_path)
            assert refusal.value.path == path
        os.truncate(path, 16384)

    assert opens(tmp_path) == ["a", "b"]


def test_a_new_memory_whose_log_is_gone_is_refused(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        memory = catalog.create("birds", dimension=2, embedder=None)
        assert memory is not None
        left = bytes_of(memory.path)
        memory.close()
    put(file_of(tmp_path, "birds"), {"": left[""]})

    with (
        closing(Catalog(tmp_path)) as catalog,
        pytest.raises(OlderMemory, match="has 0 events, but 1 were noted"),
    ):
        catalog.open("birds")


# What is noted


@pytest.fixture
def latest(tmp_path: Path) -> Latest:
    (tmp_path / "memories").mkdir()
    for name in "ab":
        (tmp_path / "memories" / f"{name}.sqlite").touch()
    return Latest(tmp_path / "noted", tmp_path / "memories")


NOTED = Noted("uid", Standing(3, "c" * 64))


def test_what_was_written_last_is_read(latest: Latest, tmp_path: Path) -> None:
    latest.keep("a.sqlite", Standing(9, "a" * 64))
    latest.keep("a.sqlite", Standing(10, "b" * 64))

    found = latest.add_to(NOTED, "a.sqlite")

    modified = (tmp_path / "memories" / "a.sqlite").stat().st_mtime_ns
    assert found == Noted("uid", NOTED.kept, latest=Standing(10, "b" * 64), modified=modified)
    assert latest.add_to(NOTED, "b.sqlite") == NOTED
    assert latest.add_to(None, "a.sqlite") is None


def test_what_a_power_loss_tore_is_as_if_it_were_not_there(latest: Latest, tmp_path: Path) -> None:
    latest.keep("a.sqlite", Standing(9, "a" * 64))
    whole = (tmp_path / "noted" / "a").read_bytes()

    for torn in (b"", whole[:40], bytes(len(whole)), whole[:50] + bytes(len(whole) - 50)):
        (tmp_path / "noted" / "a").write_bytes(torn)
        assert latest.add_to(NOTED, "a.sqlite") == NOTED


def test_what_cannot_be_written_is_left_out_and_named_once_it_is_read(
    latest: Latest, tmp_path: Path
) -> None:
    (tmp_path / "noted" / "a").mkdir()

    latest.keep("a.sqlite", Standing(9, "a" * 64))

    with pytest.raises(WriteFailed, match=r"^a could not be opened \(is a directory\)"):
        latest.add_to(NOTED, "a.sqlite")


def test_a_position_file_that_cannot_be_written_is_named_when_its_memory_is_opened(
    folder: Path,
) -> None:
    noted = folder / "noted" / file_of(folder, "birds").stem
    noted.unlink()
    noted.symlink_to(folder / "nowhere" / "noted")
    with closing(Catalog(folder)) as catalog:
        for _ in range(2):
            with pytest.raises(WriteFailed, match="could not be opened") as refused:
                catalog.open("birds")
            assert refused.value.path == noted
        catalog.open("fish").close()

    noted.unlink()
    assert opens(folder) == ["birds-a"]


def test_a_position_file_that_finds_no_room_is_left_out(small_disk: SmallDisk) -> None:
    (small_disk.folder / "memories").mkdir()
    (small_disk.folder / "memories" / "a.sqlite").touch()
    latest = Latest(small_disk.folder / "noted", small_disk.folder / "memories")
    small_disk.fill()

    latest.begin("a.sqlite", Standing(9, "a" * 64))

    assert latest.add_to(NOTED, "a.sqlite") == NOTED


@pytest.mark.parametrize("room", [36_864, 45_056])
def test_a_memory_that_can_be_read_opens_where_it_cannot_be_noted(
    room: int, folder: Path, small_disk: SmallDisk
) -> None:
    shutil.copytree(folder, small_disk.folder / "data")
    with closing(Memory.open(file_of(small_disk.folder / "data", "birds"))) as memory:
        insert(memory, "b")
    with closing(Catalog(small_disk.folder / "data")) as catalog:
        small_disk.fill()
        small_disk.make_room(room)

        with closing(catalog.open("birds")) as memory:
            assert sorted(memory.ids()) == ["b", "birds-a"]


def test_a_note_that_finds_no_room_is_refused_and_the_memory_goes_on(
    folder: Path, small_disk: SmallDisk
) -> None:
    shutil.copytree(folder, small_disk.folder / "data")
    with (
        closing(Catalog(small_disk.folder / "data")) as catalog,
        closing(catalog.open("birds")) as memory,
    ):
        insert(memory, "b")
        small_disk.fill()
        with pytest.raises(DiskFull):
            catalog.note(memory)
        assert sorted(memory.ids()) == ["b", "birds-a"]
