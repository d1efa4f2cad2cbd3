from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from tests.benchmarks.experiments.made import Cellular

import visual_memory
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.experiments.embedders import pairs, shape_bias
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet

TRUTH = np.array(list("aabbcc"))


def test_shape_bias_counts_pictures_whose_cues_differ() -> None:
    found = shape_bias(np.array(list("abcbc")), np.array(list("aaabb")), np.array(list("abbab")))
    assert (found["pictures"], found["shape"], found["texture"]) == (3, 1, 1)
    assert found["shape_bias"].value == 0.5


def test_errors_on_the_same_pictures_are_consistent_on_others_are_not() -> None:
    answers = np.array([list("aabbaa"), list("aabbbb"), list("ccbbcc")])
    same, first_other, second_other = pairs(["p", "q", "r"], answers, TRUTH)
    assert (same["first"], same["second"]) == ("p", "q")
    assert same["error_consistency"].value == 1
    assert same["same_label"].value == pytest.approx(4 / 6)
    assert first_other["error_consistency"].value == pytest.approx(-0.5)
    assert first_other["observed"].value == second_other["observed"].value == pytest.approx(2 / 6)


def test_one_embedder_has_nobody_to_be_compared_with() -> None:
    assert pairs(["p"], TRUTH[None], TRUTH) == []


def test_two_embedders_that_see_the_same_decide_the_same(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    same_content = [Cellular("first"), Cellular("second")]
    found = EXPERIMENTS["embedders"].run(client, sets, same_content, ks=(1,)).tables
    assert {row["same_label"].value for row in found["consistency"]} == {1}
    first, second = found["shape_bias"]
    assert first["shape_bias"] == second["shape_bias"]
    assert first["shape_bias"].value == 0  # texture weighs more in these pictures
    accuracies = {(row["set"], row["embedder"]): row["accuracy"].value for row in found["accuracy"]}
    assert accuracies["natural16", "first"] == accuracies["edges", "second"] == 1
