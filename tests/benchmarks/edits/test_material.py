from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import visual_memory
from visual_memory_benchmarks.edits import material
from visual_memory_benchmarks.edits.material import (
    CUE_CONFLICT,
    EDGE,
    FOLDERS,
    NATURAL,
    RESPONSES,
    SEEN_BY_PEOPLE,
    SILHOUETTE,
    Material,
    gather,
)
from visual_memory_benchmarks.errors import MissingData

EMBEDDER = "efficientnet-lite0"


@pytest.fixture
def excerpt(shared: Path, tmp_path: Path) -> Path:
    """Copy two pictures of each dataset in the whole's layout, with all answers of people."""
    folder = tmp_path / "data"
    for name in FOLDERS.values():
        source = shared / "data" / name
        with (source / "manifest.csv").open(newline="") as file:
            header, *rows = list(csv.reader(file))[:3]
        for row in rows:
            (folder / name / row[0]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / row[0], folder / name / row[0])
        with (folder / name / "manifest.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    (folder / RESPONSES).parent.mkdir()
    (folder / RESPONSES).symlink_to(shared / "data" / RESPONSES)
    return folder


@pytest.fixture
def gathered(client: visual_memory.Client, excerpt: Path, tmp_path: Path) -> Material:
    only = excerpt / FOLDERS[EDGE] / "manifest.csv"
    lines = only.read_text().splitlines(keepends=True)
    only.write_text("".join(lines[:2]))  # the second edge drawing is of an item not excerpted
    same = excerpt / FOLDERS[SILHOUETTE] / "manifest.csv"
    same.write_text("".join(same.read_text().splitlines(keepends=True)[:2]))
    return gather(client, excerpt, EMBEDDER, tmp_path / "cache")


def test_pictures_are_embedded_with_their_items(gathered: Material) -> None:
    conflict, natural = gathered.sets[CUE_CONFLICT], gathered.sets[NATURAL]

    assert conflict.ids[0] == "cue_conflict/airplane/airplane1-bicycle2.png"
    assert conflict.images[0] == "airplane1-bicycle2.png"
    assert (conflict.items[0], conflict.textures[0]) == ("airplane1", "bicycle2")
    assert (conflict.categories[0], conflict.texture_categories[0]) == ("airplane", "bicycle")
    assert gathered.sets[EDGE].items.tolist() == ["airplane1"]
    assert natural.items[0] == "airplane/airplane_001.jpg"
    assert np.linalg.norm(natural.vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_copies_are_of_the_photographs_row_by_row_and_look_otherwise(gathered: Material) -> None:
    natural = gathered.sets[NATURAL]

    for name, copies in gathered.copies.items():
        assert copies.ids.tolist() == [f"{id}+{name}" for id in natural.ids]
        assert (copies.vectors * natural.vectors).sum(axis=1).max() < 0.99


def test_a_second_time_is_the_same(
    client: visual_memory.Client, gathered: Material, excerpt: Path, tmp_path: Path
) -> None:
    again = gather(client, excerpt, EMBEDDER, tmp_path / "cache")

    assert again.sha256 == gathered.sha256
    assert again.sources == gathered.sources


def test_the_fingerprint_is_of_everything_that_decides(gathered: Material) -> None:
    natural = gathered.sets[NATURAL]
    turned = replace(natural, vectors=natural.vectors[::-1])

    assert replace(gathered, sets={**gathered.sets, NATURAL: turned}).sha256 != gathered.sha256


def test_a_drawing_of_an_unknown_item_is_refused(
    client: visual_memory.Client, excerpt: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingData, match="airplane10 is no shape item"):
        gather(client, excerpt, EMBEDDER, tmp_path / "cache")


def test_all_edges_and_silhouettes_show_shape_items(real: Material) -> None:
    for name in (EDGE, SILHOUETTE):
        assert set(real.sets[name].items) == set(real.sets[CUE_CONFLICT].items)


def test_people_saw_every_picture(real: Material, shared: Path) -> None:
    people = material.people(shared / "data" / RESPONSES)

    for name in SEEN_BY_PEOPLE:
        assert set(real.sets[name].images) == set(people[name].images)
        assert len(people[name].makers) == 10


def test_people_without_a_table_are_missing(tmp_path: Path, shared: Path) -> None:
    shutil.copytree(shared / "data" / RESPONSES / EDGE, tmp_path / EDGE)

    with pytest.raises(MissingData, match="cue-conflict"):
        material.people(tmp_path)
