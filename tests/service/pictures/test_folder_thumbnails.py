"""Thumbnails come from pictures in a folder, if these are the pictures that were inserted."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tests.conftest import to_picture

from visual_memory import Client, Memory
from visual_memory_service.pictures.folder_thumbnails import (
    BROKEN,
    LARGE,
    MISSING,
    OTHER,
    FolderThumbnails,
)

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory


@pytest.fixture
def pets(client: Client, empty: RemoteMemory) -> Memory:
    return client.create_memory(f"{empty.name}x")


def files(client: Client, memory: Memory, folder: Path) -> FolderThumbnails:
    thumbnails = FolderThumbnails(folder, memory.info(), client.server_info().limits)
    thumbnails.look([*memory.entries(include_vectors=True)])
    return thumbnails


def test_a_picture_is_shown_if_it_is_the_one_that_was_inserted(
    client: Client, pets: Memory, tmp_path: Path
) -> None:
    (tmp_path / "cat").mkdir()
    for number, name in enumerate(("same", "changed", "gone")):
        (tmp_path / "cat" / name).write_bytes(to_picture(number, size=(400, 200)))
    ids = ["cat/same", "cat/changed", "cat/gone"]
    pets.insert(images=[tmp_path / id for id in ids], labels=["cat"] * 3, ids=ids)
    (tmp_path / "cat" / "changed").write_bytes(to_picture(9))
    (tmp_path / "cat" / "gone").unlink()

    found = files(client, pets, tmp_path)

    shown = found.found.pop("cat/same")
    assert isinstance(shown, bytes)
    assert Image.open(BytesIO(shown)).size == (128, 64)
    assert found.found == {"cat/changed": OTHER, "cat/gone": MISSING}


def test_a_file_over_the_size_limit_is_shown_as_that(
    client: Client, pets: Memory, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(to_picture(1))
    pets.insert(images=[tmp_path / "a"], labels=["cat"], ids=["a"])
    limits = client.server_info().limits
    os.truncate(tmp_path / "a", limits.image_bytes + 1)

    found = files(client, pets, tmp_path)

    assert found.found == {"a": LARGE}
    assert found.summary().endswith("by id: 1 larger than the server takes.")


@pytest.mark.parametrize("id", ["../secret.png", "a/../../secret.png", "{folder}/secret.png"])
def test_no_id_leads_out_of_the_folder(
    client: Client, pets: Memory, tmp_path: Path, id: str
) -> None:
    (tmp_path / "secret.png").write_bytes(to_picture(1))
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    id = id.format(folder=tmp_path)
    pets.insert(images=[tmp_path / "secret.png"], labels=["cat"], ids=[id])

    assert files(client, pets, tmp_path / "pictures").found == {id: MISSING}


def test_where_no_picture_is_looked_for_that_is_said(
    client: Client, pets: Memory, tmp_path: Path
) -> None:
    folder = FolderThumbnails(tmp_path, pets.info(), client.server_info().limits)

    folder.look([])

    assert folder.summary() == (
        f"Nothing to show needs a picture, so none was looked for in {tmp_path}."
    )


def test_pictures_of_vectors_are_shown_unchecked(
    client: Client, empty: RemoteMemory, pets: Memory, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(to_picture(1))
    (tmp_path / "b").write_text("no picture")
    rows = client.create_memory(f"{empty.name}y", dimension=4)
    rows.insert(vectors=np.eye(4)[:2], labels=["x"] * 2, ids=["a", "b"])
    unit = np.eye(pets.info().dimension, dtype=np.float32)[:1]
    pets.insert(vectors=unit, labels=["x"], ids=["a"])

    of_rows, of_pets = files(client, rows, tmp_path), files(client, pets, tmp_path)

    assert isinstance(of_rows.found["a"], bytes)
    assert of_rows.found["b"] == BROKEN
    assert isinstance(of_pets.found["a"], bytes)
    assert of_rows.unchecked == of_pets.unchecked == 1
    assert "1 shown, 1 of them unchecked, since their entries are vectors" in of_rows.summary()
