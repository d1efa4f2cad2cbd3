from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory

import visual_memory
from visual_memory_benchmarks.errors import BadFile, UnnumberedLabels
from visual_memory_benchmarks.neighbors.neighbor_files import (
    NeighborInfo,
    export,
    file_name,
    read,
    write,
)


def info(id: str = "q", truth: Any = 3, **changes: Any) -> NeighborInfo:
    columns: dict[str, Any] = {
        "neighbor_image_ids": ("a", "b"),
        "neighbor_classes": (3, 4),
        "neighbor_distances": (0.1, 0.25),
    }
    return NeighborInfo("lite0", id, truth, **(columns | changes))


def test_a_name_says_what_is_in_a_file() -> None:
    assert file_name("imagenet2012", "train", "imagenet-a", "test", "dinov2_vits14") == (
        "memory-imagenet2012_msplit-train_query-imagenet-a_qsplit-test"
        "_dinov2_vits14_full_neighbor_info.json"
    )


def test_underscores_in_names_of_datasets_become_hyphens() -> None:
    assert "memory-my-set_msplit-a-b_query-q-x" in file_name("my_set", "a_b", "q_x", "t", "m")


def test_a_model_that_is_named_by_a_path_makes_no_folder() -> None:
    name = file_name("a", "x", "b", "y", "onnx:/models/mine.onnx")

    assert Path(name).name == name
    assert "_onnx:-models-mine.onnx_" in name


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    queries = [info("q1"), info("q2", truth=(1, 2)), info("q3", truth=())]

    write(path, queries)

    assert read(path) == {each.image_id: each for each in queries}
    assert list(json.loads(path.read_text())["q2"].items()) == [
        ("featurizer", "lite0"),
        ("image_id", "q2"),
        ("image_class", [1, 2]),
        ("neighbor_image_ids", ["a", "b"]),
        ("neighbor_classes", [3, 4]),
        ("neighbor_distances", [0.1, 0.25]),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"more": 1}, "the fields are not featurizer"),
        ({"image_id": "other"}, "image_id is not the key"),
        ({"image_class": "cat"}, "image_class is neither"),
        ({"image_class": [True]}, "image_class is neither"),
        ({"neighbor_image_ids": ["a"]}, "1 ids, 2 classes and 2 distances"),
        ({"neighbor_image_ids": [1, 2]}, "not lists of text"),
        ({"neighbor_distances": [0.3, 0.1]}, "do not ascend"),
        ({"neighbor_distances": [0.1, 2.5]}, r"outside of \[0, 2\]"),
        ({"neighbor_distances": [0.1, float("nan")]}, r"outside of \[0, 2\]"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_by_its_id(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "n.json"
    write(path, [info("q")])
    query = json.loads(path.read_text())["q"]
    path.write_text(json.dumps({"q": query | change}))

    with pytest.raises(BadFile, match=f"query 'q': .*{sentence}"):
        read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 100_000])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "n.json"
    path.write_text(text)

    with pytest.raises(BadFile):
        read(path)


def test_a_served_memory_is_exported(pets: RemoteMemory) -> None:
    with visual_memory.connect(pets.server.address) as client:
        [found] = export(
            client.memory(pets.name),
            ["q"],
            ["cat"],
            {"cat": 281, "dog": 207},
            featurizer="axes",
            vectors=np.array([[0, 0.6, 0.8, 0]]),
            k=100,
        )

    assert found.image_class == 281
    assert found.neighbor_image_ids == ("c", "b", "a")
    assert found.neighbor_classes == (207, 281, 281)
    assert found.neighbor_distances == pytest.approx((0.2, 0.4, 1.0), abs=1e-6)


def test_labels_without_a_number_are_refused(pets: RemoteMemory) -> None:
    with (
        visual_memory.connect(pets.server.address) as client,
        pytest.raises(UnnumberedLabels, match="no class number: dog; give them one"),
    ):
        export(
            client.memory(pets.name),
            ["q"],
            ["cat"],
            {"cat": 281},
            featurizer="axes",
            vectors=np.eye(4)[:1],
            k=100,
        )
