from __future__ import annotations

from pathlib import Path

import pytest
from tests.benchmarks.made import to_folder

from visual_memory_benchmarks.errors import BadPicture, MissingData
from visual_memory_benchmarks.stimuli import layouts
from visual_memory_benchmarks.stimuli.layouts import Placed
from visual_memory_benchmarks.trials.datasets import DATASETS


def test_corruption_severity_and_class_are_levels_of_folders(tmp_path: Path) -> None:
    folder = to_folder(tmp_path, "fog/3/n01440764/a.png", "fog/3/n01440764/b.png")

    assert layouts.by_condition("imagenet-c", folder) == [
        Placed("fog/3/n01440764/a.png", "n01440764", "fog-3"),
        Placed("fog/3/n01440764/b.png", "n01440764", "fog-3"),
    ]
    with pytest.raises(MissingData, match=r"cat/a\.png lies in .* CONDITION/CATEGORY"):
        layouts.by_condition("laion-c", to_folder(tmp_path / "flat", "cat/a.png"))


def test_published_names_tell_condition_and_category(tmp_path: Path) -> None:
    name = "0002_nse_dnn_0.90_knife_10_n03041632_82878.png"
    folder = to_folder(tmp_path, f"dnn/session-1/{name}")

    assert layouts.published(DATASETS["uniform-noise"], folder) == [
        Placed(f"dnn/session-1/{name}", "knife", "0.9")
    ]


def test_sets_without_conditions_may_lie_by_category(tmp_path: Path) -> None:
    folder = to_folder(tmp_path, "dnn/dog/dog-4581-sketch-16.png")

    assert layouts.published(DATASETS["sketch"], folder) == [
        Placed("dnn/dog/dog-4581-sketch-16.png", "dog")
    ]


@pytest.mark.parametrize(
    "file",
    [
        "dnn/session-1/odd.png",
        "dnn/session-1/0002_nse_dnn_0.77_knife_10_n03041632_82878.png",
        "dnn/session-1/0002_nse_dnn_0.90_spoon_10_n03041632_82878.png",
        "knife/n03041632_82878.png",
    ],
)
def test_a_name_that_does_not_tell_is_refused(file: str, tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match="tells no condition and category"):
        layouts.published(DATASETS["uniform-noise"], to_folder(tmp_path, file))


def test_a_sample_is_of_each_condition_and_category_and_follows_from_the_seed() -> None:
    placed = [
        Placed(f"{category}/{number}.png", category, condition)
        for condition in ("1", "2")
        for category in ("cat", "dog")
        for number in range(20)
    ]

    found = layouts.sample(placed, 3, seed=1)

    assert len(found) == 12
    assert [each for each in placed if each in found] == found
    assert [each.file for each in found[:6]] == [each.file for each in found[6:]]
    assert layouts.sample(placed[::-1], 3, seed=1) == found[::-1]
    assert layouts.sample(placed, 3, seed=2) != found
    assert layouts.sample(placed, None, seed=1) == placed


def test_pictures_that_people_saw_must_all_be_there(shared: Path) -> None:
    data, dataset = shared / "data", DATASETS["edge"]
    names = [path.name for path in (data / "edges").glob("*/*.png")]

    layouts.check_complete(dataset, names, data)
    layouts.check_complete(dataset, [], Path("no tables"))
    with pytest.raises(MissingData, match=r"pictures that people saw are missing: .*\.png"):
        layouts.check_complete(dataset, names[1:], data)
