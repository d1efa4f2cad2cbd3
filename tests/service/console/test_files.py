"""A command's output file replaces only a regular file; others are refused before any work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from tests.service.conftest import Run, refused

from visual_memory import Client, Memory

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Server

Place: TypeAlias = Callable[[Path], None]
WRITING = {
    "backup": ["backup", "{name}", "{file}"],
    "export": ["export", "{name}", "{file}"],
    "assess": ["assess", "{name}", "--page", "{file}"],
    "unlearn": ["unlearn", "{name}", "--ids-file", "ids", "--certificate", "{file}", "--apply"],
}
PLACES: dict[str, tuple[Place, str]] = {
    "device": (lambda path: path.symlink_to("/dev/full"), "is no file that could be replaced"),
    "pipe": (os.mkfifo, "is no file that could be replaced"),
    "folder": (Path.mkdir, "is a folder"),
    "nowhere": (lambda path: path.symlink_to("none/file"), "There is no folder for"),
}


@pytest.fixture(scope="module")
def server(server_of_files: Server) -> Server:
    return server_of_files


@pytest.fixture
def memory(client: Client, empty: RemoteMemory, tmp_path: Path) -> Memory:
    memory = client.memory(empty.name)
    rows = np.random.default_rng(0).normal(size=(8, 4))
    memory.insert(vectors=rows, labels=["cat", "dog"] * 4, ids=[str(each) for each in range(8)])
    (tmp_path / "ids").write_text("0\n")
    return memory


def told(writer: str, memory: Memory, file: Path) -> list[str]:
    return [each.format(name=memory.name, file=file) for each in WRITING[writer]]


@pytest.mark.parametrize("writer", WRITING)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_stays_as_it_is(
    run: Run, memory: Memory, tmp_path: Path, writer: str, place: str
) -> None:
    put, says = PLACES[place]
    file = tmp_path / "out"
    put(file)
    before = os.lstat(file)

    said = refused(run(*told(writer, memory, file), "--force"))

    assert says in said
    assert (os.lstat(file).st_ino, os.lstat(file).st_mode) == (before.st_ino, before.st_mode)
    assert memory.info().count == 8
    assert sorted(os.listdir(tmp_path)) == ["ids", "out"]


@pytest.mark.parametrize("writer", WRITING)
def test_a_file_is_replaced_where_that_is_asked_for_and_a_link_to_it_stays(
    run: Run, memory: Memory, tmp_path: Path, writer: str
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)

    assert "exists already; use --force" in refused(run(*told(writer, memory, link)))
    assert file.read_bytes() == b"old"
    assert run(*told(writer, memory, link), "--force").returncode == 0

    assert link.is_symlink()
    assert len(file.read_bytes()) > 100
