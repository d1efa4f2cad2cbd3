"""``visual-memory check``: memories of a folder or of a server, and the exit code."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.sealing import alter
from tests.service.conftest import Run

from visual_memory_index import Catalog, Entry

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory


@pytest.fixture
def run(command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``check``, with no server to ask."""
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", "127.0.0.1:1")
    return partial(command, "check")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder, used by no server, with the memories cats and dogs."""
    folder = tmp_path / "data"
    with closing(Catalog(folder)) as catalog:
        for name in ("dogs", "cats"):
            memory = catalog.create(name, dimension=2, embedder=None)
            assert memory is not None
            with closing(memory):
                memory.insert([Entry(name, name)], np.eye(2, dtype=np.float32)[:1])
    return folder


def damage(data: Path, name: str, statement: str) -> None:
    (file,) = (data / "memories").glob(f"{name}.*.sqlite")
    alter(file, statement)


def test_all_memories_of_a_folder_are_checked_one_a_line(run: Run, data: Path) -> None:
    done = run("--data", data)

    assert (done.returncode, done.stderr) == (0, "")
    cats, dogs = done.stdout.splitlines()
    assert cats.startswith("cats: 1 entry and 2 audit events fit the digest ")
    assert dogs.startswith("dogs: 1 entry and 2 audit events fit the digest ")


def test_programs_get_a_list(run: Run, data: Path) -> None:
    found = json.loads(run("--data", data, "--json").stdout)

    assert [(each["memory"], each["entry_count"], each["problem"]) for each in found] == [
        ("cats", 1, None),
        ("dogs", 1, None),
    ]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE entries SET label = 'wolves'", "its entries are not those of its digest"),
        ("UPDATE vectors SET vector = zeroblob(8)", "its entries are not those of its digest"),
        ("UPDATE vectors SET vector = zeroblob(7)", "a vector has another length"),
        ("DELETE FROM audit", "it is empty"),
        ("DELETE FROM audit WHERE number = 0", "event 0 is missing, event 1 is there"),
        ("DELETE FROM memory", "it holds no memory"),
    ],
)
def test_a_damaged_memory_is_named_and_the_others_are_checked_too(
    run: Run, data: Path, statement: str, problem: str
) -> None:
    damage(data, "cats", statement)

    done = run("--data", data)
    found = json.loads(run("--data", data, "--json").stdout)

    assert (done.returncode, done.stderr) == (1, "")
    cats, dogs = done.stdout.splitlines()
    assert cats.startswith("cats: ")
    assert problem in cats
    assert "bring this memory back from a backup" in cats
    assert dogs.startswith("dogs: 1 entry")
    assert problem in found[0]["problem"]
    assert found[1]["problem"] is None


def test_a_file_that_is_gone_or_no_database_is_damaged(run: Run, data: Path) -> None:
    (cats,) = (data / "memories").glob("cats.*.sqlite")
    (dogs,) = (data / "memories").glob("dogs.*.sqlite")
    cats.unlink()
    dogs.write_bytes(b"no database" * 999)

    done = run("--data", data)

    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert "the file is missing" in first
    assert "file is not a database" in second


def test_a_damaged_catalog_is_one_sentence(run: Run, data: Path) -> None:
    catalog = bytearray((data / "catalog.sqlite").read_bytes())
    catalog[catalog.index(b"file TEXT NOT NULL") + 5] ^= 0x80
    (data / "catalog.sqlite").write_bytes(catalog)

    done = run("--data", data)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "catalog.sqlite is damaged" in done.stderr
    assert "bring the whole data folder back from a copy" in done.stderr


def test_a_folder_without_memories_is_said_to_have_none(run: Run, tmp_path: Path) -> None:
    Catalog(tmp_path).close()

    done = run("--data", tmp_path)

    assert (done.returncode, done.stdout) == (0, f"{tmp_path} holds no memory.\n")
    assert json.loads(run("--data", tmp_path, "--json").stdout) == []


def test_a_file_that_no_memory_is_listed_with_is_named(run: Run, data: Path) -> None:
    (cats,) = (data / "memories").glob("cats.*.sqlite")
    cats.rename(cats.with_name("moved.sqlite"))

    done = run("--data", data)

    assert (done.returncode, done.stderr) == (1, "")
    missing, dogs, moved = done.stdout.splitlines()
    assert "the file is missing" in missing
    assert dogs.startswith("dogs: 1 entry")
    assert 'moved.sqlite holds the memory "cats", but the list of memories has' in moved


def test_a_folder_that_lost_its_catalog_is_refused_as_such(run: Run, data: Path) -> None:
    (data / "catalog.sqlite").unlink()

    done = run("--data", data)

    assert (done.returncode, done.stdout) == (1, "")
    assert "catalog.sqlite is missing or empty, but this folder has memories" in done.stderr
    assert not (data / "catalog.sqlite").exists()


def test_what_is_no_data_folder_is_refused_and_not_made_one(run: Run, tmp_path: Path) -> None:
    done = run("--data", tmp_path / "nowhere")

    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere is no data folder of a server" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_server_uses_is_refused(run: Run, pets: RemoteMemory) -> None:
    done = run("--data", pets.server.data)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"Another server (process {pets.server.process.pid}) is using" in done.stderr


def test_a_memory_of_a_server_is_checked_by_it(run: Run, pets: RemoteMemory) -> None:
    done = run(pets.name, "--server", pets.server.address)
    answer = json.loads(run(pets.name, "--json", "--server", pets.server.address).stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{pets.name}: 3 entries and 2 audit events fit the digest ")
    assert (answer["memory"], answer["entry_count"], answer["problem"]) == (pets.name, 3, None)


@pytest.mark.parametrize("arguments", [(), ("pets", "--data", "x")])
def test_either_a_memory_or_a_folder_is_named(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2
