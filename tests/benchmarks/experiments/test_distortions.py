from __future__ import annotations

from statistics import fmean

import pytest
from tests.benchmarks.experiments.conftest import Run
from tests.benchmarks.experiments.made import KNOWN

from visual_memory_benchmarks.distortions.registry import COMMON, DISTORTIONS

ASKED = 2 * len(KNOWN)


def test_an_undistorted_level_is_as_clean_as_clean(run: Run) -> None:
    found = run("distortions", names=("colour", "rotation"), per_category=2, k=1).tables
    [clean] = found["clean"]
    levels = {(row["distortion"], row["level"]): row for row in found["levels"]}
    assert levels["colour", "cr"]["accuracy"] == clean["accuracy"]
    assert clean["accuracy"].value == 1
    assert clean["pictures"] == ASKED
    assert levels["rotation", "180"]["accuracy"].value < 0.9


def test_as_many_answers_of_each_category_have_the_most_entropy(run: Run) -> None:
    found = run("distortions", names=("colour",), per_category=2, k=1).tables
    assert found["clean"][0]["response_entropy"] == 2  # bits, of 4 categories


def test_means_are_over_all_levels_and_the_same_pictures(run: Run) -> None:
    found = run("distortions", names=COMMON, per_category=2, k=1).tables
    [mean] = found["means"]
    performance = [
        fmean(row["accuracy"].value for row in found["levels"] if row["distortion"] == name)
        for name in COMMON
    ]
    assert mean["distortions"] == len(COMMON)
    assert mean["mean_accuracy"].value == pytest.approx(fmean(performance), abs=1e-12)
    assert mean["relative"].value == pytest.approx(mean["mean_accuracy"].value)  # clean is 1


def test_confusions_count_every_picture(run: Run) -> None:
    found = run("distortions", names=("uniform-noise", "low-pass"), per_category=2, k=1).tables
    assert [row["level"] for row in found["confusions"]] == list(
        DISTORTIONS["uniform-noise"].levels
    )
    for row in found["confusions"]:
        assert sorted(row["counts"]) == sorted(KNOWN)
        assert sum(sum(each.values()) for each in row["counts"].values()) == ASKED
