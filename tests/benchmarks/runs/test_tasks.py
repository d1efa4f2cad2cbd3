"""Tasks made from datasets in folders; their runs are in test_run.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import to_picture

from visual_memory_benchmarks.errors import MissingData
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS
from visual_memory_benchmarks.runs.tasks import TaskInputs
from visual_memory_benchmarks.stimuli.remembered import Remembered

NOTHING = Remembered(frozenset(["cat", "laptop"]), frozenset(), {})


def at(data: Path, limit: int | None = None) -> TaskInputs:
    return TaskInputs(data, "pets", NOTHING, limit, 0)


def made(folder: Path, *files: str) -> Path:
    for number, file in enumerate(files):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_picture(number, (8, 8)))
    return folder


@pytest.mark.parametrize(
    ("name", "count"), [("cue-conflict", 1280), ("edge", 160), ("silhouette", 160)]
)
def test_the_shared_sets_are_whole_and_named_as_people_name_them(
    name: str, count: int, shared: Path
) -> None:
    task = BENCHMARKS[name].task(at(shared / "data"))

    assert len(task.questions) == count
    assert task.questions[0].name.split("_")[2:6] == ["dnn", "0", "airplane", "00"]


def test_a_published_set_keeps_its_names_and_conditions(tmp_path: Path) -> None:
    names = [
        f"000{number}_cop_dnn_{condition}_knife_10_n03041632_{number}.png"
        for number, condition in ((1, "c100"), (2, "c05"))
    ]
    made(tmp_path / "contrast/dnn/session-1", *names)

    task = BENCHMARKS["contrast"].task(at(tmp_path))

    assert [(each.name, each.condition) for each in task.questions] == [
        (names[0], "c100"),
        (names[1], "c05"),
    ]
    assert task.show(task.questions[0]) == to_picture(0, (8, 8))


def test_a_folder_may_be_answered_with_any_label_of_the_memory(tmp_path: Path) -> None:
    task = BENCHMARKS["folder"].task(at(made(tmp_path, "dog/a.png", "cat/b_c.png")))

    assert task.dataset.categories == ("cat", "dog", "laptop")
    assert [each.name for each in task.questions] == [
        "0001_folder_dnn_0_cat_00_cat%2Fb%5Fc.png",
        "0002_folder_dnn_0_dog_00_dog%2Fa.png",
    ]


def test_a_folder_of_sets_is_no_folder_of_classes(tmp_path: Path) -> None:
    made(tmp_path, "cat/a.png", "natural16/cat/a.png", "caltech20/crab/a.png")

    with pytest.raises(MissingData, match=r"caltech20, natural16 lie among .* with --data"):
        BENCHMARKS["folder"].task(at(tmp_path))


def test_corruptions_are_conditions_and_classes_are_the_only_answers(tmp_path: Path) -> None:
    made(tmp_path / "imagenet-c", "fog/1/n01/a.png", "fog/2/n01/a.png", "fog/2/n02/b.png")

    task = BENCHMARKS["imagenet-c"].task(at(tmp_path))

    assert task.dataset.conditions == ("fog-1", "fog-2")
    assert task.dataset.categories == ("n01", "n02")
    assert len(BENCHMARKS["imagenet-c"].task(at(tmp_path, limit=1)).questions) == 3


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("contrast", "Fetch it: visual-memory-bench data get contrast --data "),
        ("edge", "Fetch it: visual-memory-bench data get edge --data "),
        ("imagenet-sketch", "Put it, a folder per WNID, into .*; it is at https://"),
        ("natural", "no folder"),
        ("distortion:laion-c-mosaic", "no folder"),
    ],
)
def test_a_set_that_is_not_there_is_refused_with_what_brings_it(
    name: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(MissingData, match=sentence):
        BENCHMARKS[name].task(at(tmp_path / "none"))
