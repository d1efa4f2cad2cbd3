"""A data folder in use is not taken for a new one, and has a reserve for a full disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visual_memory_index import Catalog
from visual_memory_index.catalog.folder import (
    NEW_BYTES_MAX,
    RESERVE_BYTES_MAX,
    Reserve,
    check_folder,
)
from visual_memory_index.errors import (
    CorruptStore,
    FileUnavailable,
    FolderInUse,
    ForeignFolder,
    LostCatalog,
    OthersFolder,
    WriteFailed,
)

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one memory, closed."""
    with closing(Catalog(tmp_path / "data")) as catalog:
        memory = catalog.create("birds", dimension=2, embedder=None)
        assert memory is not None
        memory.close()
    return tmp_path / "data"


@pytest.mark.parametrize("left", ["nothing", "an empty file", "a file without its log"])
def test_a_folder_that_was_used_is_refused_without_its_catalog(folder: Path, left: str) -> None:
    catalog = folder / "catalog.sqlite"
    catalog.unlink()
    if left == "an empty file":
        catalog.touch()
    if left == "a file without its log":
        with closing(sqlite3.connect(catalog)) as db:
            db.execute("PRAGMA journal_mode = WAL")
    before = {path.name for path in folder.rglob("*")}

    for _ in range(2):
        with pytest.raises(LostCatalog, match=r"catalog\.sqlite is missing or empty, but"):
            Catalog(folder)

    assert {path.name for path in folder.rglob("*")} == before


def test_a_folder_of_which_only_the_secret_is_left_is_refused(folder: Path) -> None:
    (folder / "catalog.sqlite").unlink()
    shutil.rmtree(folder / "memories")

    with pytest.raises(LostCatalog):
        Catalog(folder)


def test_a_start_that_was_cut_short_before_anything_was_made_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "memories").mkdir()
    (tmp_path / "catalog.sqlite").touch()

    Catalog(tmp_path).close()


def test_a_folder_of_other_files_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "setup.py").touch()
    (tmp_path / "thesis").mkdir()

    with pytest.raises(ForeignFolder) as refused:
        Catalog(tmp_path)

    assert str(refused.value) == (
        f"{tmp_path} is no data folder of a server: it holds 'setup.py', which no server has made; "
        "name an empty folder, or one that is not there yet."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lost+found", "setup.py", "thesis"]


@pytest.mark.parametrize("name", ["unfinished", "keys", "noted", "memories"])
def test_a_folder_is_not_taken_for_a_servers_by_the_name_of_a_folder_in_it(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "readme.txt").touch()
    (tmp_path / name).mkdir()
    (tmp_path / name / "novel.txt").touch()

    with pytest.raises(ForeignFolder, match=f"it holds '(readme.txt|{name})'"):
        Catalog(tmp_path)

    assert (tmp_path / name / "novel.txt").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("server.lock", "of a game server"),
        ("reserve", "names of those who reserved a table"),
        ("memories", "of my youth"),
        ("keys", ""),
        ("noted", ""),
        ("unfinished", ""),
        ("cache", ""),
    ],
)
def test_a_file_of_another_program_is_not_taken_for_a_servers_by_its_name(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(ForeignFolder, match=f"it holds '{name}', which no server has made"):
        Catalog(tmp_path)

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]


@pytest.mark.parametrize("name", ["memories", "keys", "noted", "unfinished", "cache"])
def test_a_folder_of_another_program_is_not_taken_for_a_servers_by_its_name(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "holiday.jpg").touch()

    with pytest.raises(ForeignFolder, match=f"it holds '{name}'"):
        Catalog(tmp_path)

    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_large_file_that_is_called_reserve_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "reserve").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(ForeignFolder, match="it holds 'reserve'"):
        Catalog(tmp_path)


@pytest.mark.parametrize("name", ["catalog.sqlite", "server.lock", "reserve"])
def test_a_folder_is_not_taken_for_a_file_of_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(ForeignFolder, match=f"it holds '{name}'"):
        Catalog(tmp_path)


@pytest.mark.parametrize("lock", [b"4711", b"", b"\0\0\0\0"])
def test_what_a_first_start_leaves_that_is_killed_is_no_foreign_file(
    tmp_path: Path, lock: bytes
) -> None:
    for name in ("memories", "noted", "unfinished", "keys"):
        (tmp_path / name).mkdir()
    (tmp_path / "unfinished" / f"{'0f' * 8}.sqlite").touch()
    (tmp_path / "keys" / ".tombstones.key.part").touch()
    (tmp_path / "server.lock").write_bytes(lock)
    (tmp_path / "reserve").write_bytes(bytes(1 << 22))
    (tmp_path / "catalog.sqlite").touch()
    (tmp_path / "catalog.sqlite-wal").touch()

    Catalog(tmp_path).close()


KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE photos (x)")
os._exit(0)
"""


def test_a_database_of_another_program_that_was_killed_stays_as_it_is(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "catalog.sqlite")], check=True)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    with pytest.raises(ForeignFolder, match=r"it holds 'catalog\.sqlite'"):
        Catalog(tmp_path)

    assert len(before["catalog.sqlite-wal"]) > 0
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_large_log_beside_a_small_database_is_of_another_program(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "catalog.sqlite")], check=True)
    with (tmp_path / "catalog.sqlite-wal").open("ab") as log:
        log.truncate(NEW_BYTES_MAX + 1)

    with pytest.raises(ForeignFolder, match=r"it holds 'catalog\.sqlite'"):
        Catalog(tmp_path)


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_a_file_that_belongs_to_a_catalog_is_no_servers_without_it(
    tmp_path: Path, end: str
) -> None:
    (tmp_path / f"catalog.sqlite{end}").touch()

    with pytest.raises(ForeignFolder, match=f"it holds 'catalog.sqlite{end}'"):
        Catalog(tmp_path)


def test_memories_that_no_server_has_named_make_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "memories").mkdir()
    (tmp_path / "memories" / "notes.sqlite").touch()

    with pytest.raises(ForeignFolder, match="it holds 'memories'"):
        Catalog(tmp_path)


@pytest.mark.parametrize("version", [0, 3, 9999])
def test_a_database_without_tables_makes_no_data_folder_of_what_is_beside_it(
    tmp_path: Path, version: int
) -> None:
    (tmp_path / "novel.txt").touch()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as other:
        other.execute("PRAGMA application_id = 77")
        other.execute(f"PRAGMA user_version = {version}")

    with pytest.raises(ForeignFolder, match=r"it holds '(novel\.txt|catalog\.sqlite)'"):
        Catalog(tmp_path)

    assert {each.name for each in tmp_path.iterdir()} == {"novel.txt", "catalog.sqlite"}


@pytest.mark.parametrize("table", ["photos", "requests"])
@pytest.mark.parametrize("version", [-1, 0, 1, 6, 30])
def test_a_database_of_another_program_is_refused_and_stays_as_it_is(
    tmp_path: Path, table: str, version: int
) -> None:
    path = tmp_path / "catalog.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"CREATE TABLE {table} (x)")
        other.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()

    with pytest.raises(ForeignFolder, match=r"it holds 'catalog\.sqlite'"):
        Catalog(tmp_path)

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["catalog.sqlite"]


@pytest.mark.parametrize("logged", [False, True])
def test_a_large_catalog_whose_keys_and_memories_are_lost_is_a_catalog(
    folder: Path, logged: bool
) -> None:
    shutil.rmtree(folder / "keys")
    shutil.rmtree(folder / "memories")
    path = folder / "catalog.sqlite"
    with path.open("ab") as file:
        file.write(bytes(NEW_BYTES_MAX))
    if logged:
        (folder / "catalog.sqlite-wal").write_bytes(b"no log that is whole")
    before = sorted(each.name for each in folder.iterdir())

    check_folder(folder)

    assert sorted(each.name for each in folder.iterdir()) == before


def test_a_database_of_another_program_in_a_folder_that_was_used_is_told(folder: Path) -> None:
    path = folder / "catalog.sqlite"
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photos (x)")
        other.execute("PRAGMA user_version = 6")

    with pytest.raises(CorruptStore, match="it is of another program"):
        Catalog(folder)


def test_a_link_to_nothing_is_no_new_folder(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("gone")

    with pytest.raises(FileNotFoundError):
        Catalog(tmp_path / "data")


@pytest.mark.parametrize("found", [[], ["lost+found"], [".gitkeep"]])
def test_an_empty_folder_and_that_of_a_new_disk_become_data_folders(
    tmp_path: Path, found: list[str]
) -> None:
    for name in found:
        (tmp_path / name).mkdir()

    Catalog(tmp_path).close()

    assert (tmp_path / "catalog.sqlite").is_file()


def test_a_data_folder_with_further_files_opens(folder: Path) -> None:
    (folder / "notes.txt").touch()

    Catalog(folder).close()


@pytest.mark.parametrize("name", ["memories", "noted", "unfinished"])
def test_a_file_in_place_of_a_folder_is_named(folder: Path, name: str) -> None:
    shutil.rmtree(folder / name)
    (folder / name).touch()

    with pytest.raises(NotADirectoryError) as refused:
        Catalog(folder)

    assert refused.value.filename == str(folder / name)


def test_of_unfinished_files_those_that_a_crash_left_are_removed(folder: Path) -> None:
    unfinished = folder / "unfinished"
    (unfinished / "lost+found").mkdir()
    (unfinished / "novel.txt").touch()
    (unfinished / f"{'0f' * 8}.sqlite").symlink_to(folder / "memories")
    for name in (f"{'12' * 8}.sqlite", f"{'12' * 8}.sqlite-wal", "etilqs_5f0a"):
        (unfinished / name).touch()

    Catalog(folder).close()

    assert sorted(path.name for path in unfinished.iterdir()) == ["lost+found", "novel.txt"]
    assert list((folder / "memories").iterdir())


def test_a_lock_holds_though_its_file_is_removed(folder: Path) -> None:
    with closing(Catalog(folder)):
        (folder / "server.lock").unlink()
        with pytest.raises(FolderInUse, match=r"Another server \(process unknown\) is using"):
            Catalog(folder)

    Catalog(folder).close()
    assert (folder / "server.lock").read_text() == str(os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_folder_of_another_users_server_is_refused_and_left_as_it_is(folder: Path) -> None:
    Catalog(folder).close()
    os.chown(folder / "catalog.sqlite", 12345, -1)
    (folder / "server.lock").unlink()
    before = sorted(folder.rglob("*"))

    with pytest.raises(OthersFolder, match="belongs to another user, number 12345, whose server"):
        Catalog(folder)

    assert sorted(folder.rglob("*")) == before


def test_a_folder_is_also_locked_by_its_file_for_servers_that_lock_that_alone(folder: Path) -> None:
    path = folder / "server.lock"
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        named = path.read_bytes()
        with pytest.raises(FolderInUse):
            Catalog(folder)
        assert path.read_bytes() == named
        fcntl.flock(file, fcntl.LOCK_UN)

        with closing(Catalog(folder)), pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_in_place_of_a_file_is_named(folder: Path) -> None:
    (folder / "server.lock").unlink()
    (folder / "server.lock").mkdir()
    with pytest.raises(
        FileUnavailable, match=r"server\.lock could not be opened \(is a directory\)"
    ):
        Catalog(folder)


def test_a_fifo_in_place_of_a_file_holds_up_nothing(folder: Path) -> None:
    (memory,) = (folder / "memories").iterdir()
    noted = folder / "noted" / memory.stem
    for each in (folder / "reserve", noted):
        each.unlink()
        os.mkfifo(each)
    with closing(Catalog(folder)) as catalog:
        with pytest.raises(
            WriteFailed, match=r"could not be opened \(not a regular file"
        ) as refused:
            catalog.open("birds")
        assert refused.value.path == noted
        noted.unlink()
        catalog.open("birds").close()

        memory.unlink()
        os.mkfifo(memory)
        with pytest.raises(FileUnavailable, match=r"could not be opened \(not a regular file\)"):
            catalog.open("birds")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reserve"


def test_it_takes_room_on_the_disk_and_gives_it_up_once(path: Path) -> None:
    reserve = Reserve(path)
    reserve.renew()
    assert path.stat().st_size == RESERVE_BYTES_MAX
    assert path.stat().st_blocks * 512 >= RESERVE_BYTES_MAX
    assert path.stat().st_mode & 0o777 == 0o600

    assert (reserve.give_up(), reserve.give_up()) == (True, False)
    assert not path.exists()


def test_it_grows_to_its_size_once_there_is_room(path: Path) -> None:
    path.write_bytes(b"")
    Reserve(path).renew()
    assert path.stat().st_size == RESERVE_BYTES_MAX

    Reserve(path).renew()
    assert path.stat().st_size == RESERVE_BYTES_MAX


def test_a_small_disk_keeps_most_of_its_room_and_a_full_one_is_no_trouble(
    small_disk: SmallDisk,
) -> None:
    path = small_disk.folder / "reserve"
    reserve = Reserve(path)
    reserve.renew()
    assert 500_000 < path.stat().st_size < 1_100_000

    assert reserve.give_up()
    small_disk.fill()
    reserve.renew()
    assert path.stat().st_size == 0
    assert not reserve.give_up()


def test_a_folder_that_cannot_be_written_to_has_none(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "missing" / "reserve")

    reserve.renew()

    assert not reserve.give_up()
