from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import to_picture

from visual_memory_benchmarks.distortions.registry import DISTORTIONS
from visual_memory_benchmarks.errors import BadPicture, MissingData
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS
from visual_memory_benchmarks.runs.tasks import TaskInputs
from visual_memory_benchmarks.stimuli.remembered import Remembered

NOTHING = Remembered(frozenset(["cat"]), frozenset(), {})


@pytest.fixture
def circumstances(tmp_path: Path) -> TaskInputs:
    for seed, file in enumerate(("natural16/cat/a.png", "caltech20/crab/a.png")):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_bytes(to_picture(seed, (64, 48)))
    return TaskInputs(tmp_path, "pets", NOTHING, None, 0)


def test_every_level_follows_the_clean_pictures(circumstances: TaskInputs) -> None:
    task = BENCHMARKS["distortion:uniform-noise"].task(circumstances)

    levels = ["clean", *DISTORTIONS["uniform-noise"].levels]
    assert [each.condition for each in task.questions] == levels
    assert task.dataset.excluded == ("clean",)
    shown = [task.show(each) for each in task.questions]
    assert {np.shape(each) for each in shown} == {(224, 224, 3)}
    assert np.var(np.asarray(shown[-1], float)) > np.var(np.asarray(shown[1], float))


def test_pictures_follow_from_the_seed_in_any_order(circumstances: TaskInputs) -> None:
    benchmark = BENCHMARKS["distortion:salt-and-pepper"]
    task, other = benchmark.task(circumstances), benchmark.task(replace(circumstances, seed=1))

    once = [np.asarray(task.show(each)).tobytes() for each in task.questions]
    again = [np.asarray(task.show(each)).tobytes() for each in reversed(task.questions)]
    seeded = [np.asarray(other.show(each)).tobytes() for each in other.questions]

    assert once == again[::-1]
    assert once[-1] != seeded[-1]


@pytest.mark.parametrize("name", DISTORTIONS)
def test_each_distortion_has_what_it_is_made_from(name: str, circumstances: TaskInputs) -> None:
    task = BENCHMARKS[f"distortion:{name}"].task(circumstances)

    assert np.shape(task.show(task.questions[-1])) == (224, 224, 3)
    assert ("bank" in task.data) == (DISTORTIONS[name].needs == "bank")
    assert task.note


def test_the_bank_holds_nothing_that_the_memory_does(circumstances: TaskInputs) -> None:
    data = (circumstances.data / "caltech20/crab/a.png").read_bytes()
    known = Remembered(frozenset(), frozenset(), {hashlib.sha256(data).hexdigest(): ("a",)})

    with pytest.raises(MissingData, match="are in the memory itself"):
        BENCHMARKS["distortion:laion-c-mosaic"].task(replace(circumstances, remembered=known))


def test_a_bank_that_is_not_there_is_asked_for(circumstances: TaskInputs) -> None:
    (circumstances.data / "caltech20").rename(circumstances.data / "elsewhere")

    with pytest.raises(MissingData, match="Any folder of pictures per class will do"):
        BENCHMARKS["distortion:laion-c-stickers"].task(circumstances)


def test_a_bank_among_the_categories_is_no_category(circumstances: TaskInputs) -> None:
    own = circumstances.data / "natural16/cat"
    own.rename(circumstances.data / "cat")
    own.parent.rmdir()

    with pytest.raises(MissingData, match=r"caltech20 lies among .* into .*natural16"):
        BENCHMARKS["distortion:laion-c-mosaic"].task(circumstances)


def test_a_set_that_is_a_label_of_the_memory_is_a_category(circumstances: TaskInputs) -> None:
    (circumstances.data / "natural16").rename(circumstances.data / "edges")
    known = Remembered(frozenset(["caltech20", "edges"]), frozenset(), {})

    task = BENCHMARKS["distortion:colour"].task(replace(circumstances, remembered=known))

    assert task.dataset.categories == ("caltech20", "edges")


def test_a_picture_that_does_not_decode_is_named(circumstances: TaskInputs) -> None:
    (circumstances.data / "natural16/cat/b.png").write_bytes(b"no picture")
    task = BENCHMARKS["distortion:colour"].task(circumstances)

    with pytest.raises(BadPicture, match=r"cat/b\.png does not decode"):
        task.show(task.questions[1])
