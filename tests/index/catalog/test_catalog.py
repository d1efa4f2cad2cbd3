"""The list of memories survives interrupted changes, and belongs to one server at a time."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.databases import database_of, registry_of
from tests.sealing import seal

from visual_memory_index import (
    WITHOUT_ID,
    Catalog,
    Entry,
    IncomingBackup,
    Memory,
    Outdated,
    Request,
)
from visual_memory_index.errors import (
    BadAuditLog,
    BadBackup,
    CorruptStore,
    DiskFull,
    FolderInUse,
    LostSecret,
    MemoryClosed,
    MemoryExists,
    NewerStore,
    RequestReused,
    UnknownMemory,
    UnlistedFile,
    WriteFailed,
)

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

CREATE = Request("create", b"birds, 2")
DROP = Request("drop", b"birds")
RESTORE = Request("restore", b"birds2")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def create(catalog: Catalog, name: str, request: Request = WITHOUT_ID) -> bool:
    """Create a memory; return True, or False if the request was done before."""
    memory = catalog.create(name, dimension=2, embedder=None, request=request)
    if memory is not None:
        memory.close()
    return memory is not None


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "memories").iterdir())


def kept_open(folder: Path) -> list[str]:
    """Return the files in ``folder`` that this process holds open, removed ones too."""
    targets = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    return [target for target in targets if target.startswith(str(folder))]


def test_a_new_folder_has_no_memory(catalog: Catalog) -> None:
    assert catalog.names() == []


def test_a_memory_that_was_made_is_listed_and_opens(catalog: Catalog) -> None:
    create(catalog, "fish")
    create(catalog, "birds")

    assert catalog.names() == ["birds", "fish"]
    with closing(catalog.open("birds")) as memory:
        assert (memory.identity.name, memory.identity.dimension, memory.count) == ("birds", 2, 0)


def test_memories_are_there_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        memory = catalog.create("birds", dimension=2, embedder='{"name": "fake"}')
        assert memory is not None
        memory.insert([Entry("a", "crow")], np.eye(2, dtype=np.float32)[:1])
        memory.close()

    with closing(Catalog(tmp_path)) as catalog, closing(catalog.open("birds")) as memory:
        assert memory.identity.embedder == '{"name": "fake"}'
        assert memory.entry("a").label == "crow"


def test_a_name_is_taken_once(catalog: Catalog) -> None:
    create(catalog, "birds")

    with pytest.raises(MemoryExists, match='"birds" exists already'):
        create(catalog, "birds")

    assert len(files(catalog.folder)) == 1


def test_a_dropped_memory_is_gone_with_its_file_and_its_name_is_free(catalog: Catalog) -> None:
    create(catalog, "birds")
    create(catalog, "fish")

    catalog.drop("birds")

    assert catalog.names() == ["fish"]
    catalog.clear()
    assert [name.split(".")[0] for name in files(catalog.folder)] == ["fish"]
    with pytest.raises(UnknownMemory, match='no memory named "birds"'):
        catalog.open("birds")
    assert create(catalog, "birds")


def test_dropping_what_is_not_there_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UnknownMemory):
        catalog.drop("birds", request=DROP)

    assert catalog.recall(DROP) is None


def test_a_repeated_request_makes_one_memory(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        first = create(catalog, "birds", CREATE)
    with closing(Catalog(tmp_path)) as catalog:
        second = create(catalog, "birds", CREATE)

        assert (first, second, catalog.names()) == (True, False, ["birds"])


def test_a_request_with_other_content_makes_nothing(catalog: Catalog) -> None:
    create(catalog, "birds", CREATE)

    with pytest.raises(RequestReused):
        create(catalog, "fish", Request("create", b"fish, 2"))

    assert catalog.names() == ["birds"]


def test_a_drop_is_remembered(catalog: Catalog) -> None:
    create(catalog, "birds")
    before = catalog.recall(DROP)

    catalog.drop("birds", request=DROP)

    assert (before, catalog.recall(DROP), catalog.recall(WITHOUT_ID)) == (None, "birds", None)
    with pytest.raises(RequestReused):
        catalog.recall(Request("drop", b"fish"))


def test_a_crash_while_a_memory_is_made_leaves_nothing(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        create(catalog, "fish")
        with registry_of(catalog).transaction() as db:
            db.execute("INSERT INTO memories VALUES ('birds', 'birds.0.sqlite', 'creating')")
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "memories" / f"birds.0.sqlite{suffix}").write_bytes(b"half a file")

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == ["fish"]
        assert [name.split(".")[0] for name in files(tmp_path)] == ["fish"]
        assert create(catalog, "birds", CREATE)


def test_a_crash_before_the_file_is_made_leaves_nothing(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog, registry_of(catalog).transaction() as db:
        db.execute("INSERT INTO memories VALUES ('birds', 'birds.0.sqlite', 'creating')")

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == []
        assert create(catalog, "birds")


def test_a_crash_before_a_dropped_file_is_gone_is_made_good(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        create(catalog, "birds")
        (file,) = files(tmp_path)
        with registry_of(catalog).transaction() as db:
            db.execute("DELETE FROM memories")
            db.execute("INSERT INTO dropped VALUES (?)", (file,))
    assert files(tmp_path) == [file]

    with closing(Catalog(tmp_path)) as catalog:
        assert (files(tmp_path), catalog.names()) == ([], [])
        with registry_of(catalog).reading() as db:
            assert db.execute("SELECT * FROM dropped").fetchall() == []


def test_a_memory_that_is_still_being_made_is_unknown(catalog: Catalog) -> None:
    with registry_of(catalog).transaction() as db:
        db.execute("INSERT INTO memories VALUES ('birds', 'birds.0.sqlite', 'creating')")

    with pytest.raises(UnknownMemory):
        catalog.open("birds")

    assert catalog.names() == []


def test_a_memory_whose_file_is_missing_is_damaged(catalog: Catalog) -> None:
    create(catalog, "birds")
    (catalog.folder / "memories" / files(catalog.folder)[0]).unlink()

    said = r"birds\..*\.sqlite is damaged \(the file is missing\); .* put the file back, or"
    with pytest.raises(CorruptStore, match=said):
        catalog.open("birds")

    catalog.drop("birds")
    assert catalog.names() == []


@pytest.mark.parametrize("room", range(0, 400_000, 16384))
def test_a_memory_that_found_no_room_can_be_made_later(room: int, small_disk: SmallDisk) -> None:
    with closing(Catalog(small_disk.folder)) as catalog:
        small_disk.fill()
        small_disk.make_room(room)
        try:
            made = create(catalog, "birds", CREATE)
        except DiskFull:
            made = False
        assert catalog.names() == ["birds"] * made
        assert not kept_open(small_disk.folder / "memories")

        small_disk.make_room(2_000_000)

        assert create(catalog, "birds", CREATE) != made
        assert catalog.names() == ["birds"]
        assert len([name for name in files(small_disk.folder) if name.endswith(".sqlite")]) == 1


def test_a_folder_belongs_to_one_server_and_the_other_is_told_which(catalog: Catalog) -> None:
    with pytest.raises(FolderInUse, match=rf"process {os.getpid()}\) is using") as refusal:
        Catalog(catalog.folder)

    assert (refusal.value.owner, refusal.value.folder) == (str(os.getpid()), str(catalog.folder))
    assert create(catalog, "birds")


def test_a_folder_is_free_when_its_server_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from visual_memory_index import Catalog;"
        "catalog = Catalog(pathlib.Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"open\n"
        with pytest.raises(FolderInUse, match=f"process {server.pid}"):
            Catalog(tmp_path)
        server.kill()

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == []


def test_a_damaged_catalog_is_named_and_the_folder_is_free_again(
    tmp_path: Path, garble: Callable[[Path, int, int], None]
) -> None:
    Catalog(tmp_path).close()
    garble(tmp_path / "catalog.sqlite", 2, 16384)

    for _ in range(2):
        with pytest.raises(CorruptStore, match=r"catalog\.sqlite is damaged"):
            Catalog(tmp_path)


def test_files_that_are_not_listed_are_named_as_memories(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        create(catalog, "birds")
    for name in ("birds.0a.sqlite", "fish.0b.sqlite", "fish.0c.sqlite", "bees.sqlite"):
        (tmp_path / "memories" / name).write_bytes(b"lost")

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == ["bees", "birds", "birds.0a", "fish.0b", "fish.0c"]
        catalog.open("birds").close()
        both = (
            r"bees\.sqlite may hold a memory.* accept bees --data DIR, or delete the memory .bees"
        )
        with pytest.raises(UnlistedFile, match=both):
            catalog.open("bees")
        with pytest.raises(MemoryExists):
            create(catalog, "bees")
        catalog.drop("bees")
        assert create(catalog, "bees")
        assert "bees.sqlite" not in files(tmp_path)


def test_a_file_that_the_system_does_not_let_us_look_at_is_refused_as_a_memory(
    tmp_path: Path,
) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        create(catalog, "birds")
    (tmp_path / "memories" / "fish.sqlite").symlink_to("x" * 256)
    (path,) = (tmp_path / "memories").glob("birds.*")
    path.unlink()
    path.symlink_to("x" * 256)

    with closing(Catalog(tmp_path)) as again:
        assert again.names() == ["birds", "fish"]
        with pytest.raises(
            WriteFailed, match=r"could not be opened \(file name too long\); let the"
        ):
            again.open("birds")
        with pytest.raises(UnlistedFile):
            again.open("fish")


def test_a_file_with_nothing_in_it_is_no_memory(tmp_path: Path) -> None:
    Catalog(tmp_path).close()
    (tmp_path / "memories" / "birds.0a.sqlite").write_bytes(b"")

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == []
        assert create(catalog, "birds")


def test_a_file_that_cannot_be_removed_keeps_no_other_and_no_start(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        for name in ("ants", "bees", "cats"):
            create(catalog, name)
        (held,) = (tmp_path / "memories").glob("ants.*")
        held.unlink()
        held.mkdir()
        for name in ("ants", "bees"):
            catalog.drop(name)
        with pytest.raises(WriteFailed, match=r"ants.*is a directory"):
            catalog.clear()
        left = files(tmp_path)

    with closing(Catalog(tmp_path)) as again:
        names = again.names()
    held.rmdir()
    with closing(Catalog(tmp_path)) as last:
        last.clear()

    assert [name for name in left if name.startswith("bees")] == []
    assert names == ["cats"]


def test_a_memory_that_was_dropped_is_not_made_anew_by_who_would_read_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    memory = catalog.create("birds", dimension=2, embedder=None)
    assert memory is not None
    catalog.drop("birds")
    memory.close(keep=False)
    catalog.clear()

    with pytest.raises(MemoryClosed):
        catalog.backup(memory, settings=(), check=lambda: None)
    with pytest.raises(MemoryClosed), catalog.copied(memory, "b", settings=(), check=lambda: None):
        pass

    assert not list((tmp_path / "memories").iterdir())


def test_a_newer_memory_is_refused_and_the_others_open(catalog: Catalog) -> None:
    create(catalog, "birds")
    create(catalog, "fish")
    with closing(catalog.open("birds")) as memory, database_of(memory).transaction() as db:
        db.execute("PRAGMA user_version = 99")

    with pytest.raises(NewerStore, match="schema 99"):
        catalog.open("birds")

    catalog.open("fish").close()


# Backups and copies


@pytest.fixture
def birds(catalog: Catalog) -> Iterator[Memory]:
    """A memory of three entries: a, b and c."""
    memory = catalog.create("birds", dimension=2, embedder=None)
    assert memory is not None
    insert(memory, "a", "b", "c")
    with closing(memory):
        yield memory


def insert(memory: Memory, *ids: str) -> None:
    rows = np.tile(np.array([[0.6, 0.8]], np.float32), (len(ids), 1))
    memory.insert([Entry(id, "crow", content_sha256=bytes(32)) for id in ids], rows)


def unlearn(catalog: Catalog, memory: Memory, *ids: str) -> None:
    """Unlearn entries as a call does, without the search for traces."""
    begun = memory.unlearning.begin(ids, allow_missing=False).operation
    catalog.mark_unlearned(memory, ids, begun.name)
    memory.unlearning.erase(begun.name, settings=(), draft=lambda facts: "{}")
    memory.operations.end(begun.name, "done")


def back_up(catalog: Catalog, memory: Memory) -> bytes:
    with catalog.backup(memory, settings=(), check=lambda: None) as file:
        return file.read()


@contextmanager
def arrived(catalog: Catalog, data: bytes) -> Iterator[IncomingBackup]:
    with catalog.arrival() as arrival:
        arrival.write(data)
        arrival.finish()
        yield arrival


def principals(memory: Memory) -> list[tuple[str, str]]:
    events = memory.audit_events(limit=99).events
    return [(event.call, event.principal) for event in events]


def test_the_audit_log_names_the_principal_who_made_backed_up_restored_and_copied(
    catalog: Catalog,
) -> None:
    ann = Request(principal="ann")
    made = catalog.create("birds", dimension=2, embedder=None, request=ann)
    assert made is not None
    with closing(made):
        insert(made, "a", "b")
        with catalog.backup(made, settings=(), check=lambda: None, request=ann) as file:
            data = file.read()
        with catalog.copied(made, "c", settings=(), check=lambda: None, request=ann) as rebuilt:
            copied = catalog.adopt(rebuilt, 0, ann)
        catalog.mark_unlearned(made, ["a"], None)
        with (
            arrived(catalog, data) as arrival,
            catalog.rebuilt(arrival, "r", settings=(), check=lambda: None, request=ann) as rebuilt,
        ):
            restored = catalog.adopt(rebuilt, 0, ann)
        assert copied is not None
        assert restored is not None
        with closing(copied), closing(restored):
            before = [("CreateMemory", "ann"), ("InsertEntries", "local"), ("BackupMemory", "ann")]

            assert principals(copied) == [*before, ("CopyMemory", "ann")]
            assert principals(restored) == [
                *before,
                ("LeaveOutEntries", "ann"),
                ("RestoreMemory", "ann"),
            ]


def restore(
    catalog: Catalog, data: bytes, name: str = "birds2", request: Request = WITHOUT_ID
) -> tuple[set[str], int]:
    """Restore a backup; return the restored ids, and the number of entries left out."""
    with (
        arrived(catalog, data) as arrival,
        catalog.rebuilt(arrival, name, settings=(), check=lambda: None) as rebuilt,
    ):
        memory = catalog.adopt(rebuilt, rebuilt.left_out, request)
    assert memory is not None
    with closing(memory):
        return set(memory.ids()), rebuilt.left_out


def altered(data: bytes, *statements: str) -> bytes:
    """Return the database of a backup, changed by SQL."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.deserialize(data)
        for statement in statements:
            db.execute(statement)
        with suppress(sqlite3.Error):  # where nothing is left to be summed up
            seal(db)
        return db.serialize()


def unfinished(catalog: Catalog) -> list[Path]:
    return list((catalog.folder / "unfinished").iterdir())


def test_a_backup_comes_back_as_a_memory_of_another_name(catalog: Catalog, birds: Memory) -> None:
    data = back_up(catalog, birds)
    insert(birds, "d")

    assert restore(catalog, data) == ({"a", "b", "c"}, 0)

    assert catalog.names() == ["birds", "birds2"]
    with closing(catalog.open("birds2")) as memory:
        assert memory.identity.name == "birds2"
        assert memory.identity.uid == birds.identity.uid
        calls = [event.call for event in memory.audit_events(limit=9).events]
        assert calls == ["CreateMemory", "InsertEntries", "BackupMemory", "RestoreMemory"]
    assert birds.audit_events(limit=9).events[2].call == "BackupMemory"
    assert birds.audit_events(limit=9).events[2].count == 3
    assert unfinished(catalog) == []


def test_a_backup_comes_back_when_its_memory_is_gone(catalog: Catalog, birds: Memory) -> None:
    data, digest = back_up(catalog, birds), birds.info().digest
    birds.close()
    catalog.drop("birds")

    assert restore(catalog, data, "birds") == ({"a", "b", "c"}, 0)

    with closing(catalog.open("birds")) as memory:
        assert memory.info().digest == digest


def test_what_was_unlearned_since_does_not_come_back(catalog: Catalog, birds: Memory) -> None:
    before = back_up(catalog, birds)
    unlearn(catalog, birds, "a")
    between = back_up(catalog, birds)
    unlearn(catalog, birds, "c")

    assert restore(catalog, before, "birds2") == ({"b"}, 2)
    assert restore(catalog, between, "birds3") == ({"b"}, 1)


def test_what_was_deleted_comes_back(catalog: Catalog, birds: Memory) -> None:
    data = back_up(catalog, birds)
    birds.delete(["a"])

    assert restore(catalog, data) == ({"a", "b", "c"}, 0)


def test_what_was_inserted_again_comes_back_with_a_later_backup(
    catalog: Catalog, birds: Memory
) -> None:
    unlearn(catalog, birds, "a")
    insert(birds, "a")

    assert restore(catalog, back_up(catalog, birds)) == ({"a", "b", "c"}, 0)


def test_what_a_restored_memory_unlearned_does_not_come_back_either(
    catalog: Catalog, birds: Memory
) -> None:
    data = back_up(catalog, birds)
    restore(catalog, data)
    with closing(catalog.open("birds2")) as memory:
        unlearn(catalog, memory, "b")

    assert restore(catalog, data, "birds3") == ({"a", "c"}, 1)
    assert set(birds.ids()) == {"a", "b", "c"}


def test_of_a_backup_from_elsewhere_nothing_comes_back_that_was_ever_unlearned_here(
    catalog: Catalog, birds: Memory, tmp_path: Path
) -> None:
    data = back_up(catalog, birds)
    with closing(Catalog(tmp_path / "elsewhere")) as other:
        assert restore(other, data, "birds") == ({"a", "b", "c"}, 0)
        with closing(other.open("birds")) as memory:
            later = back_up(other, memory)
            unlearn(other, memory, "c")
        assert restore(other, data) == ({"a", "b"}, 1)
    unlearn(catalog, birds, "a")
    insert(birds, "a")

    assert restore(catalog, later) == ({"b", "c"}, 1)


def test_of_a_backup_that_an_older_copy_of_the_folder_does_not_know_nothing_comes_back_either(
    tmp_path: Path,
) -> None:
    with closing(Catalog(tmp_path / "now")) as catalog:
        memory = catalog.create("birds", dimension=2, embedder=None)
        assert memory is not None
        insert(memory, "a", "b")
        memory.close()
    shutil.copytree(tmp_path / "now", tmp_path / "then")
    with closing(Catalog(tmp_path / "now")) as now, closing(now.open("birds")) as memory:
        for _ in range(3):
            data = back_up(now, memory)

    with closing(Catalog(tmp_path / "then")) as then, closing(then.open("birds")) as memory:
        unlearn(then, memory, "a")

        assert restore(then, data) == ({"b"}, 1)


def test_what_is_unlearned_while_a_backup_comes_back_is_left_out_in_a_second_try(
    catalog: Catalog, birds: Memory
) -> None:
    data = back_up(catalog, birds)
    with arrived(catalog, data) as arrival:
        with catalog.rebuilt(arrival, "birds2", settings=(), check=lambda: None) as rebuilt:
            unlearn(catalog, birds, "a")
            with pytest.raises(Outdated):
                catalog.adopt(rebuilt, 0, WITHOUT_ID)
        assert catalog.names() == ["birds"]
        assert len(files(catalog.folder)) == len(list(catalog.folder.glob("memories/birds.*")))
        with catalog.rebuilt(arrival, "birds2", settings=(), check=lambda: None) as rebuilt:
            memory = catalog.adopt(rebuilt, 0, WITHOUT_ID)

    assert memory is not None
    with closing(memory):
        assert memory.ids() == ["b", "c"]


def test_what_is_unlearned_while_a_copy_is_made_is_left_out_in_a_second_try(
    catalog: Catalog, birds: Memory
) -> None:
    with catalog.copied(birds, "birds2", settings=(), check=lambda: None) as rebuilt:
        unlearn(catalog, birds, "a")
        with pytest.raises(Outdated):
            catalog.adopt(rebuilt, 0, WITHOUT_ID)

    assert copy(catalog, birds) == {"b", "c"}


def copy(catalog: Catalog, memory: Memory, name: str = "birds2") -> set[str]:
    """Copy a memory, and return the ids in the copy."""
    with catalog.copied(memory, name, settings=(), check=lambda: None) as rebuilt:
        copied = catalog.adopt(rebuilt, rebuilt.left_out, WITHOUT_ID)
    assert copied is not None
    with closing(copied):
        return set(copied.ids())


def test_a_copy_and_its_memory_live_their_own_lives(catalog: Catalog, birds: Memory) -> None:
    assert copy(catalog, birds) == {"a", "b", "c"}
    birds.delete(["a"])

    with closing(catalog.open("birds2")) as copied:
        insert(copied, "d")
        assert set(copied.ids()) == {"a", "b", "c", "d"}
        calls = [event.call for event in copied.audit_events(limit=9).events]
        assert calls == ["CreateMemory", "InsertEntries", "CopyMemory", "InsertEntries"]
    assert set(birds.ids()) == {"b", "c"}


def test_a_name_that_is_taken_is_refused_in_the_end(catalog: Catalog, birds: Memory) -> None:
    data = back_up(catalog, birds)

    with pytest.raises(MemoryExists, match='"birds" exists already'):
        restore(catalog, data, "birds")
    with pytest.raises(MemoryExists):
        copy(catalog, birds, "birds")

    assert catalog.names() == ["birds"]
    assert unfinished(catalog) == []


def test_a_name_that_is_taken_is_refused_at_first_but_for_the_request_that_took_it(
    catalog: Catalog, birds: Memory
) -> None:
    restore(catalog, back_up(catalog, birds), request=RESTORE)

    catalog.check_free("fish", "")
    catalog.check_free("birds2", RESTORE.id)
    for request_id in ("", "another"):
        with pytest.raises(MemoryExists):
            catalog.check_free("birds2", request_id)


def test_a_repeated_request_restores_once(catalog: Catalog, birds: Memory) -> None:
    data = back_up(catalog, birds)
    restore(catalog, data, request=RESTORE)

    with (
        arrived(catalog, data) as arrival,
        catalog.rebuilt(arrival, "birds2", settings=(), check=lambda: None) as rebuilt,
    ):
        assert catalog.adopt(rebuilt, 0, RESTORE) is None
        with pytest.raises(RequestReused):
            catalog.adopt(rebuilt, 0, Request("restore", b"others"))

    assert catalog.recall(RESTORE) == 0
    assert catalog.names() == ["birds", "birds2"]


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["UPDATE entries SET label = 'owl' WHERE id = 'a'"], "not those of its digest"),
        (
            ["DELETE FROM vectors WHERE key = 1"],
            "the vector of the entry of key 1 is not as it was",
        ),
        (["UPDATE memory SET digest = zeroblob(2048)"], "another state than after"),
        (["UPDATE memory SET digest = x'00'"], "."),
        (["UPDATE memory SET audit_peaks = x'00'"], "."),
        (["UPDATE audit SET event = '{}' WHERE number = 2"], "does not end with event 2"),
        (["UPDATE audit SET event = replace(event, 'Insert', 'Delete')"], "does not follow"),
        (["DELETE FROM audit WHERE number = 1"], "event 1 is missing"),
        (["UPDATE audit SET event = '{}' WHERE number = 0"], "event 0 cannot be read"),
        (["UPDATE memory SET audit_peaks = zeroblob(64)"], "not those of its head"),
        (["UPDATE vectors SET vector = x'00' WHERE key = 1"], "another length"),
        (["DELETE FROM memory"], "it holds no memory"),
        (["CREATE VIEW more AS SELECT 1"], "more than the tables"),
        (["DROP TABLE vectors"], "its schema .*vectors"),
        (["DROP TABLE images"], "its schema .*images"),
        (["PRAGMA foreign_keys = OFF", "DELETE FROM operations", "DELETE FROM entries"], "."),
        (["ALTER TABLE entries RENAME COLUMN label TO name"], "its schema .*entries"),
    ],
)
def test_a_database_that_was_altered_is_refused(
    statements: list[str], problem: str, catalog: Catalog, birds: Memory
) -> None:
    data = altered(back_up(catalog, birds), *statements)

    with pytest.raises(BadBackup, match=problem):
        restore(catalog, data)

    assert catalog.names() == ["birds"]
    assert unfinished(catalog) == []


def test_of_a_memory_whose_log_was_changed_no_backup_and_no_copy_is_made(
    catalog: Catalog, birds: Memory
) -> None:
    with database_of(birds).transaction() as db:
        db.execute("UPDATE audit SET event = replace(event, 'Insert', 'Delete')")

    with pytest.raises(BadAuditLog, match='of the memory "birds" does not fit'):
        back_up(catalog, birds)
    with pytest.raises(BadAuditLog):
        copy(catalog, birds)

    assert catalog.names() == ["birds"]
    assert unfinished(catalog) == []


def test_a_file_that_is_no_database_is_refused(catalog: Catalog, birds: Memory) -> None:
    data = back_up(catalog, birds)

    for garbled in (data[:16] + bytes(len(data)), data[:20_000], data[:16384] + bytes(16384)):
        with pytest.raises(BadBackup):
            restore(catalog, garbled)

    assert unfinished(catalog) == []


def test_damage_of_the_catalog_is_not_told_as_that_of_a_backup_or_of_a_memory(
    tmp_path: Path, birds: Memory, catalog: Catalog
) -> None:
    data, path = back_up(catalog, birds), tmp_path / "catalog.sqlite"
    away = path.rename(path.with_name("away"))
    shutil.copy(away, path)
    with suppress(CorruptStore):
        registry_of(catalog).renew_connections()

    calls: list[Callable[[], object]] = [
        lambda: restore(catalog, data),
        lambda: back_up(catalog, birds),
        lambda: catalog.drop("birds"),
        lambda: create(catalog, "cats"),
        lambda: catalog.mark_unlearned(birds, ["a"], None),
    ]
    for call in calls:
        with pytest.raises(CorruptStore) as refused:
            call()
        assert str(refused.value) == (
            "catalog.sqlite is damaged (another file was put in its place); stop the server and "
            "put the catalog back, or bring the whole data folder back from a copy."
        )
    path.unlink()
    with pytest.raises(CorruptStore, match=r"the file is missing\); .* put the catalog back"):
        restore(catalog, data)
    away.rename(path)
    assert create(catalog, "cats")


def test_a_backup_of_a_newer_release_is_refused(catalog: Catalog, birds: Memory) -> None:
    data = altered(back_up(catalog, birds), "PRAGMA user_version = 99")

    with pytest.raises(NewerStore, match="The backup has schema 99, but this release knows up to"):
        restore(catalog, data)

    assert unfinished(catalog) == []


@pytest.mark.parametrize("schema", [1, 2])
def test_a_backup_of_an_older_release_is_brought_to_the_newest_schema(
    schema: int, catalog: Catalog
) -> None:
    path = Path(__file__).parents[1] / "data" / f"memory-schema-{schema}.sqlite"

    ids, left_out = restore(catalog, path.read_bytes(), "old")

    assert (ids >= {"a", "b"}, left_out) == (True, 0)


def test_a_memory_with_more_than_one_log_is_restored_with_the_one_it_had(
    catalog: Catalog, birds: Memory
) -> None:
    data = back_up(catalog, birds)
    restore(catalog, data)
    with closing(catalog.open("birds2")) as memory:
        again = back_up(catalog, memory)

    assert restore(catalog, again, "birds3") == ({"a", "b", "c"}, 0)


def test_what_a_crash_left_unfinished_is_gone_at_the_next_start(tmp_path: Path) -> None:
    Catalog(tmp_path).close()
    one, other = (f"{number:016x}.sqlite" for number in (1, 2))
    for name in (one, f"{one}-wal", other):
        (tmp_path / "unfinished" / name).write_bytes(b"half a file")

    with closing(Catalog(tmp_path)) as catalog:
        assert unfinished(catalog) == []


@pytest.mark.parametrize("room", range(0, 600_000, 49152))
def test_a_backup_that_finds_no_room_comes_back_later(room: int, small_disk: SmallDisk) -> None:
    with closing(Catalog(small_disk.folder)) as catalog:
        memory = catalog.create("birds", dimension=2, embedder=None)
        assert memory is not None
        insert(memory, "a", "b")
        data = back_up(catalog, memory)
        small_disk.fill()
        small_disk.make_room(room)
        try:
            restored = restore(catalog, data)
        except DiskFull:
            restored = (set(), 0)
        assert unfinished(catalog) == []
        assert catalog.names() == ["birds", "birds2"][: 1 + bool(restored[0])]
        small_disk.make_room(2_000_000)

        if not restored[0]:
            restored = restore(catalog, data)

        assert restored == ({"a", "b"}, 0)
        assert set(memory.ids()) == {"a", "b"}
        memory.close()


@pytest.mark.parametrize("room", range(0, 400_000, 49152))
def test_a_backup_that_finds_no_room_can_be_made_later(room: int, small_disk: SmallDisk) -> None:
    with closing(Catalog(small_disk.folder)) as catalog:
        memory = catalog.create("birds", dimension=2, embedder=None)
        assert memory is not None
        insert(memory, "a", "b")
        small_disk.fill()
        small_disk.make_room(room)
        try:
            back_up(catalog, memory)
        except DiskFull:
            assert unfinished(catalog) == []
        small_disk.make_room(2_000_000)

        assert restore(catalog, back_up(catalog, memory)) == ({"a", "b"}, 0)
        memory.close()


def test_a_folder_whose_secret_is_gone_is_refused_and_free_again(tmp_path: Path) -> None:
    Catalog(tmp_path).close()
    key = tmp_path / "keys" / "tombstones.key"
    kept = key.read_bytes()

    for data in (None, bytes(32), b""):
        key.unlink(missing_ok=True)
        if data is not None:
            key.write_bytes(data)
        with pytest.raises(LostSecret, match=r"tombstones\.key is missing, or not the one"):
            Catalog(tmp_path)

    key.write_bytes(kept)
    Catalog(tmp_path).close()


def test_a_folder_whose_secret_is_lost_for_good_begins_anew_as_the_documents_say(
    tmp_path: Path,
) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        memory = catalog.create("birds", dimension=2, embedder=None)
        assert memory is not None
        with closing(memory):
            catalog.mark_unlearned(memory, ["a"], "")
    (tmp_path / "keys" / "tombstones.key").unlink()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as db:
        db.executescript(
            "DELETE FROM tombstones; UPDATE clock SET secret_check = NULL; DELETE FROM sums;"
        )

    with closing(Catalog(tmp_path)) as catalog, closing(catalog.open("birds")) as memory:
        assert catalog.mark_unlearned(memory, ["a"], "") == 2


def test_two_folders_mark_the_same_entry_otherwise(tmp_path: Path, birds: Memory) -> None:
    marks = set()
    for name in ("one", "two"):
        with closing(Catalog(tmp_path / name)) as catalog:
            catalog.mark_unlearned(birds, ["a"], "")
            with registry_of(catalog).reading() as db:
                marks |= set(db.execute("SELECT mark FROM tombstones"))

    assert len(marks) == 4  # each of the entry and of the memory


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path / "data")) as catalog:
        create(catalog, "birds")
        paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]

        assert len(paths) > 6
        for path in paths:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
