"""A data folder that was used is not taken for a new one."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from visual_memory_index import Catalog, LostCatalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a memory, which was closed."""
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
        with pytest.raises(LostCatalog, match=r"catalog\.sqlite is missing or empty, but this"):
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
