from __future__ import annotations

import numpy as np
import pytest
from tests.benchmarks.made import joined, to_trials

from visual_memory_benchmarks.metrics.bootstrap import Resampling
from visual_memory_benchmarks.runs.results import results
from visual_memory_benchmarks.runs.session import Answer
from visual_memory_benchmarks.trials.datasets import DATASETS, Dataset

RESAMPLING = Resampling(200, seed=3)


def answers(*distances: float) -> list[Answer]:
    return [Answer("cat", "cat", 0.5, distance) for distance in distances]


def test_accuracy_comes_with_an_interval_by_label_and_with_confusions() -> None:
    trials = to_trials({"lite0": ["cat", "dog", "dog", "na"]}, ["cat", "cat", "dog", "dog"])

    found = results(trials, answers(0.1, 0.2, 0.3, 0.4), RESAMPLING)

    assert found["accuracy"]["value"] == 0.5
    assert found["accuracy"]["low"] < 0.5 < found["accuracy"]["high"]
    assert found["mean_over_categories"]["value"] == 0.5
    assert found["by_category"]["cat"] == {"trials": 2, "correct": 1, "accuracy": 0.5}
    assert found["confusion"] == {"cat": {"cat": 1, "dog": 1}, "dog": {"dog": 1, "na": 1}}
    assert found["no_answer"] == 1
    assert found["nearest_distance"]["mean"] == pytest.approx(0.25)
    assert found["shape_bias"] is None


def test_controls_do_not_count() -> None:
    dataset = Dataset("made", "parametric", ("clean", "1", "2"), ("clean",), ("cat", "dog"))
    parts = [
        to_trials({"a": response}, ["cat", "dog"], dataset=dataset, condition=condition)
        for condition, response in (("clean", ["cat", "dog"]), ("1", ["cat", "cat"]))
    ]

    found = results(joined(parts), answers(*[0.1] * 4), RESAMPLING)

    assert found["accuracy"]["value"] == 0.5
    assert found["trials_used"] == 2
    assert {key: each["excluded"] for key, each in found["by_condition"].items()} == {
        "clean": True,
        "1": False,
    }
    assert found["by_condition"]["clean"]["accuracy"]["value"] == 1.0


def test_conflicts_tell_the_shape_bias() -> None:
    names = ["cat1-dog1.png", "dog1-cat1.png", "cat2-cat1.png"]
    trials = to_trials(
        {"lite0": ["cat", "cat", "cat"]},
        ["cat", "dog", "cat"],
        names=names,
        dataset=DATASETS["cue-conflict"],
    )

    found = results(trials, answers(0.1, 0.1, 0.1), RESAMPLING)

    assert found["shape_bias"]["bias"]["value"] == 0.5
    assert (found["shape_bias"]["shape"], found["shape_bias"]["texture"]) == (1, 1)


def test_the_same_answers_give_the_same_results() -> None:
    trials = to_trials({"a": ["cat"] * 10}, ["cat", "dog"] * 5)

    one, other = (results(trials, answers(*np.arange(10.0)), RESAMPLING) for _ in range(2))

    assert one == other
