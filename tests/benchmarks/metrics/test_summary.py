from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.benchmarks.made import to_trials

from visual_memory_benchmarks.metrics.bootstrap import Resampling
from visual_memory_benchmarks.metrics.consistency import MEASURES
from visual_memory_benchmarks.metrics.summary import summarise
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.trial_files import read, write

FEW = Resampling(resamples=20)
SHOWN = ["cat", "dog", "car", "bird"]
PEOPLE = {"subject-01": ["cat", "dog", "na", "na"], "subject-02": ["cat", "na", "car", "na"]}


@pytest.fixture(scope="module")
def everyone(shared: Path) -> Any:
    """Summarise the people and networks of the published tables."""
    return summarise(shared / "data" / "human_responses", resampling=FEW)


def values(row: Any) -> dict[str, float | None]:
    return {
        key: each["value"]
        for key, each in row.items()
        if isinstance(each, dict) and "value" in each
    }


def test_without_people_models_have_accuracies_and_are_compared_with_each_other(
    tmp_path: Path,
) -> None:
    write(tmp_path, to_trials({"a": SHOWN, "b": ["cat", "na", "na", "na"]}, SHOWN))

    found = summarise(tmp_path, resampling=FEW)

    assert found["humans"] is None
    assert found["leaderboard"] is None
    assert found["datasets"]["edge"]["humans"] is None
    assert values(found["models"]["b"])["ood_accuracy"] == 0.25
    assert values(found["models"]["b"])["error_consistency"] is None
    [pair] = found["model_pairs"]
    assert (pair["first"], pair["second"], pair["datasets"]) == ("a", "b", 1)
    assert values(pair)["observed_consistency"] == 0.25


def test_without_shape_and_texture_the_shape_bias_is_null(tmp_path: Path) -> None:
    trials = to_trials(
        {"lite0": ["na", "cat"]},
        ["cat", "dog"],
        names=["cat1-dog1.png", "dog1-car1.png"],
        dataset=DATASETS["cue-conflict"],
    )
    write(tmp_path, trials)

    found = summarise(tmp_path, resampling=FEW)

    assert found["models"]["lite0"]["shape_bias"]["value"] is None
    assert found["shape_bias"]["models"]["lite0"]["bias"]["value"] is None


def test_whoever_lacks_a_metric_is_left_out_with_the_reason(tmp_path: Path) -> None:
    answers = {
        "subject-01": ["na", "na"],
        "both": ["cat", "car"],
        "dogs": ["dog", "dog"],
        "none": ["na", "na"],
    }
    names = ["cat1-dog1.png", "dog1-car1.png"]
    dataset = DATASETS["cue-conflict"]
    write(tmp_path, to_trials(answers, ["cat", "dog"], names=names, dataset=dataset))

    found = summarise(tmp_path, resampling=FEW)

    assert found["humans"]["datasets"] == 1
    assert found["leaderboard"]["left_out"] == {"none": "no error_consistency"}
    assert list(found["aggregation"]["mean"]) == ["both", "dogs"]
    assert found["aggregation"]["left_out"] == {"none": "no error_consistency, shape_bias"}


def test_it_is_json_and_the_same_every_time(shared: Path) -> None:
    folder = shared / "data" / "human_responses" / "model"

    texts = {json.dumps(summarise(folder, resampling=FEW), allow_nan=False) for _ in range(2)}

    assert len(texts) == 1


def test_networks_are_ranked_over_the_datasets_that_all_answered(everyone: Any) -> None:
    board = everyone["leaderboard"]

    ranked = [row["model"] for row in board["human_likeness"]]
    assert sorted(ranked) == sorted(row["model"] for row in board["ood_accuracy"])
    assert ranked[0] == "resnet50-train-60-epochs"
    assert len(ranked) == 5
    assert board["left_out"]["vgg16"] == "no trials of edge, silhouette"
    assert len(ranked) + len(board["left_out"]) == 16


def test_the_three_aggregates_stand_side_by_side(everyone: Any) -> None:
    found = everyone["aggregation"]

    assert set(found["mean"]) == set(found["z_mean"]) == set(found["mean_rank"])
    assert np.sum(list(found["z_mean"].values())) == pytest.approx(0)
    assert np.diag(found["correlations"]) == pytest.approx(np.ones(5))


def test_the_leaderboard_and_the_aggregates_are_of_the_values_that_stand_beside_them(
    everyone: Any,
) -> None:
    models: dict[str, Any] = {name: values(row) for name, row in everyone["models"].items()}
    for row in everyone["leaderboard"]["human_likeness"]:
        of_model = models[row["model"]]
        shown = {key: value for key, value in row.items() if key in of_model}
        assert len(shown) >= 3
        assert shown == {key: of_model[key] for key in shown}
    found = everyone["aggregation"]
    signs = {name.lstrip("-"): -1 if name.startswith("-") else 1 for name in found["metrics"]}
    assert "shape_bias" in signs
    for name, mean in found["mean"].items():
        own = [sign * models[name][metric] for metric, sign in signs.items()]
        assert mean == pytest.approx(np.mean(own))


def test_the_boards_are_in_their_order(everyone: Any) -> None:
    board = everyone["leaderboard"]
    ranks = [row["mean_rank"] for row in board["human_likeness"]]
    accuracies = [row["ood_accuracy"] for row in board["ood_accuracy"]]

    assert ranks == sorted(ranks)
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(set(accuracies)) > 1


def test_what_was_drawn_and_averaged_and_left_out_is_told(everyone: Any) -> None:
    found = everyone["aggregation"]
    correlations = np.array(found["correlations"])

    assert everyone["resampling"] == {"resamples": 20, "seed": 0, "coverage": 0.95}
    assert everyone["models"]["resnet50"]["datasets"] == ["edge", "silhouette", "cue-conflict"]
    assert everyone["models"]["vgg16"]["datasets_with_people"] == ["cue-conflict"]
    assert found["standard_deviation"] == "population"
    assert found["left_out"] == everyone["leaderboard"]["left_out"]
    assert found["mean_correlation"] == pytest.approx(
        correlations[np.triu_indices(len(correlations), 1)].mean()
    )


def test_intervals_hold_their_values(everyone: Any) -> None:
    for row in [everyone["humans"], *everyone["models"].values()]:
        for name in (*MEASURES, "ood_accuracy"):
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]


def test_models_do_not_change_what_is_said_of_people(everyone: Any, shared: Path) -> None:
    folder = shared / "data" / "human_responses" / "human"

    alone = summarise(folder, resampling=FEW)

    assert everyone["humans"] == alone["humans"]
    assert everyone["shape_bias"]["humans"] == alone["shape_bias"]["humans"]


def test_restricted_to_some_pictures_people_are_comparable_with_a_run_over_those(
    tmp_path: Path, shared: Path
) -> None:
    folder = shared / "data" / "human_responses" / "human" / "edge"
    people = read(sorted(folder.iterdir()), DATASETS["edge"])
    some = np.unique(people.images)[:40].tolist()
    people = people.where(np.isin(people.images, some))
    [first] = {str(people.makers[0])}
    run = people.where(people.makers == first)
    write(tmp_path, people)
    write(
        tmp_path,
        to_trials(
            {"lite0": run.responses.tolist()}, run.categories.tolist(), names=run.names.tolist()
        ),
    )

    row = summarise(tmp_path, resampling=FEW)["datasets"]["edge"]

    assert row["models"]["lite0"]["trials"] == 40
    same, other = row["models"]["lite0"], row["subjects"][first]
    assert same["accuracy"] == other["accuracy"]
