from __future__ import annotations

import pytest
from tests.benchmarks.made import to_trials

from visual_memory_benchmarks.metrics.bias_summary import summarise_bias
from visual_memory_benchmarks.metrics.bootstrap import Resampling
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import panels

SHOWN = ["cat", "dog", "cat", "cat"]
NAMES = ["cat1-dog1.png", "dog1-car1.png", "cat2-cat3.png", "cat4-car2.png"]
ANSWERS = {
    "subject-01": ["cat", "dog", "cat", "car"],
    "subject-02": ["dog", "na", "cat", "na"],
    "lite0": ["na", "cat", "cat", "na"],
}


def test_without_people_nothing_is_said_of_them() -> None:
    models = {"lite0": ANSWERS["lite0"]}
    [panel] = panels(to_trials(models, SHOWN, names=NAMES, dataset=DATASETS["cue-conflict"]))

    found = summarise_bias(panel, Resampling(resamples=20)).json

    assert found["humans"] is None
    assert list(found["models"]) == ["lite0"]


def test_people_are_pooled_averaged_and_split_and_models_stand_alone() -> None:
    cue_conflict = DATASETS["cue-conflict"]
    [panel] = panels(to_trials(ANSWERS, SHOWN, names=NAMES, dataset=cue_conflict))

    found = summarise_bias(panel, Resampling(resamples=20)).json

    humans = found["humans"]
    assert (found["images"], found["conflict_images"]) == (4, 3)
    assert (humans["shape"], humans["texture"], humans["trials"]) == (2, 2, 6)
    assert (humans["shape_share"], humans["texture_share"]) == (2 / 6, 2 / 6)
    assert humans["bias"]["value"] == 0.5
    assert humans["mean_over_subjects"]["value"] == pytest.approx((2 / 3 + 0) / 2)
    assert humans["mean_over_categories"]["value"] == pytest.approx((1 / 3 + 1) / 2)
    assert humans["by_category"]["dog"]["bias"]["value"] == 1
    assert humans["by_category"]["oven"]["bias"]["value"] is None
    assert humans["by_subject"]["subject-02"]["bias"]["value"] == 0
    assert found["models"]["lite0"]["bias"]["value"] is None
    assert found["models"]["lite0"]["shape_share"] == 0
    assert found["models"]["lite0"]["texture_share"] == 0
    assert humans["by_category"]["oven"]["shape_share"] is None
    assert humans["by_category"]["oven"]["texture_share"] is None
