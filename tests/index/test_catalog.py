"""The list of memories survives what cuts a change short, and belongs to one server at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from visual_memory_index import (
    Catalog,
    CorruptStore,
    DiskFull,
    Entry,
    FolderInUse,
    MemoryExists,
    NewerStore,
    Request,
    RequestReused,
    UnknownMemory,
)

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

CREATE = Request("create", b"birds, 2")
DROP = Request("drop", b"birds")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def create(catalog: Catalog, name: str, request: Request | None = None) -> bool:
    """Whether a memory was made now."""
    memory = catalog.create(name, dimension=2, embedder=None, request=request)
    if memory is not None:
        memory.close()
    return memory is not None


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "memories").iterdir())


def kept_open(folder: Path) -> list[str]:
    """The files in ``folder`` that this process has not closed, there or already removed."""
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
    assert [name.split(".")[0] for name in files(catalog.folder)] == ["fish"]
    with pytest.raises(UnknownMemory, match='no memory named "birds"'):
        catalog.open("birds")
    assert create(catalog, "birds")


def test_dropping_what_is_not_there_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UnknownMemory):
        catalog.drop("birds", request=DROP)

    assert not catalog.was_dropped(DROP)


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
    before = catalog.was_dropped(DROP)

    catalog.drop("birds", request=DROP)

    assert (before, catalog.was_dropped(DROP), catalog.was_dropped(None)) == (False, True, False)
    with pytest.raises(RequestReused):
        catalog.was_dropped(Request("drop", b"fish"))


def test_a_crash_while_a_memory_is_made_leaves_nothing(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        create(catalog, "fish")
        with catalog._database.transaction() as db:
            db.execute("INSERT INTO memories VALUES ('birds', 'birds.0.sqlite', 'creating')")
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "memories" / f"birds.0.sqlite{suffix}").write_bytes(b"half a file")

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == ["fish"]
        assert [name.split(".")[0] for name in files(tmp_path)] == ["fish"]
        assert create(catalog, "birds", CREATE)


def test_a_crash_before_the_file_is_made_leaves_nothing(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog, catalog._database.transaction() as db:
        db.execute("INSERT INTO memories VALUES ('birds', 'birds.0.sqlite', 'creating')")

    with closing(Catalog(tmp_path)) as catalog:
        assert catalog.names() == []
        assert create(catalog, "birds")


def test_a_crash_before_a_dropped_file_is_gone_is_made_good(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path)) as catalog:
        create(catalog, "birds")
        (file,) = files(tmp_path)
        with catalog._database.transaction() as db:
            db.execute("DELETE FROM memories")
            db.execute("INSERT INTO dropped VALUES (?)", (file,))
    assert files(tmp_path) == [file]

    with closing(Catalog(tmp_path)) as catalog:
        assert (files(tmp_path), catalog.names()) == ([], [])
        with catalog._database.reading() as db:
            assert db.execute("SELECT * FROM dropped").fetchall() == []


def test_a_memory_that_is_still_being_made_is_unknown(catalog: Catalog) -> None:
    with catalog._database.transaction() as db:
        db.execute("INSERT INTO memories VALUES ('birds', 'birds.0.sqlite', 'creating')")

    with pytest.raises(UnknownMemory):
        catalog.open("birds")

    assert catalog.names() == []


def test_a_memory_whose_file_is_missing_is_damaged(catalog: Catalog) -> None:
    create(catalog, "birds")
    (catalog.folder / "memories" / files(catalog.folder)[0]).unlink()

    with pytest.raises(CorruptStore, match=r"birds\..*\.sqlite is damaged \(the file is missing"):
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


def test_a_newer_memory_is_refused_and_the_others_open(catalog: Catalog) -> None:
    create(catalog, "birds")
    create(catalog, "fish")
    with closing(catalog.open("birds")) as memory, memory._store.transaction() as transaction:
        transaction._db.execute("PRAGMA user_version = 99")

    with pytest.raises(NewerStore, match="schema 99"):
        catalog.open("birds")

    catalog.open("fish").close()
