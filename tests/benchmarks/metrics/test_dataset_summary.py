from __future__ import annotations

from typing import Any

import pytest
from tests.benchmarks.made import joined, to_trials

from visual_memory_benchmarks.errors import MissingConditions, UnmatchedImages
from visual_memory_benchmarks.metrics.bootstrap import Resampling
from visual_memory_benchmarks.metrics.dataset_summary import summarise_dataset
from visual_memory_benchmarks.trials.datasets import DATASETS

FEW = Resampling(resamples=20)
SHOWN = ["cat", "dog", "car", "bird"]
PEOPLE = {"subject-01": ["cat", "dog", "na", "na"], "subject-02": ["cat", "na", "car", "na"]}


def values(row: Any) -> dict[str, float | None]:
    return {
        key: each["value"]
        for key, each in row.items()
        if isinstance(each, dict) and "value" in each
    }


def test_people_are_compared_with_each_other_and_models_with_them() -> None:
    trials = to_trials(PEOPLE | {"lite0": ["cat", "dog", "car", "bird"]}, SHOWN)

    row = summarise_dataset(trials, FEW).json

    assert row["humans"]["pairs"] == 1
    assert values(row["humans"]) == pytest.approx(
        {
            "accuracy": 0.5,
            "accuracy_difference": 0,
            "observed_consistency": 0.5,
            "expected_consistency": 0.5,
            "error_consistency": 0,
        }
    )
    model = row["models"]["lite0"]
    assert (model["makers"], model["pairs"], model["trials"]) == (1, 2, 4)
    assert values(model) == pytest.approx(
        {
            "accuracy": 1,
            "accuracy_difference": 0.25,
            "observed_consistency": 0.5,
            "expected_consistency": 0.5,
            "error_consistency": 0,
        }
    )
    assert row["humans"]["difficulty"]["trivial"] == 1
    assert row["humans"]["difficulty"]["impossible"] == 1


def test_an_undefined_consistency_is_null_and_counted() -> None:
    trials = to_trials({"subject-01": SHOWN, "subject-02": SHOWN, "lite0": SHOWN}, SHOWN)

    row = summarise_dataset(trials, FEW).json

    for each in (row["humans"], row["models"]["lite0"]):
        assert each["error_consistency"] == {"value": None, "low": None, "high": None}
        assert each["undefined_pairs"] == each["identical_pairs"] == each["pairs"]
        assert each["by_category"]["cat"]["error_consistency"] is None


def test_a_model_without_a_condition_that_counts_is_refused() -> None:
    colour = DATASETS["colour"]
    trials = to_trials({"lite0": SHOWN}, SHOWN, dataset=colour, condition="cr")

    with pytest.raises(MissingConditions, match=r"colour: lite0 has no trials in the condition bw"):
        summarise_dataset(trials, FEW)


def test_a_model_may_lack_a_condition_that_does_not_count() -> None:
    colour = DATASETS["colour"]
    people = [
        to_trials(PEOPLE, SHOWN, dataset=colour, condition=condition) for condition in ("cr", "bw")
    ]
    model = to_trials({"lite0": SHOWN}, SHOWN, dataset=colour, condition="bw")
    trials = joined([*people, model])

    row = summarise_dataset(trials, FEW).json

    assert list(row["models"]["lite0"]["by_condition"]) == ["bw"]
    assert list(row["humans"]["by_condition"]) == ["cr", "bw"]


def test_an_unfinished_run_is_refused() -> None:
    whole = to_trials(PEOPLE, SHOWN)
    trials = joined([whole, to_trials({"lite0": ["cat"]}, ["cat"])])

    with pytest.raises(UnmatchedImages, match=r"lite0 has no answer to .*finish the run"):
        summarise_dataset(trials, FEW)


def test_one_person_alone_has_an_accuracy_and_nobody_to_agree_with() -> None:
    found = summarise_dataset(to_trials({"subject-01": [*SHOWN[:3], "na"]}, SHOWN), FEW).json

    assert values(found["humans"])["accuracy"] == 0.75
    assert values(found["humans"])["observed_consistency"] is None
    assert found["humans"]["pairs"] == 0


def test_the_dataset_is_told_and_one_model_alone_is_compared_with_no_other() -> None:
    parts = [
        to_trials({"lite0": SHOWN}, SHOWN, dataset=DATASETS["colour"], condition=condition)
        for condition in ("cr", "bw")
    ]

    found = summarise_dataset(joined(parts), FEW).json

    assert (found["kind"], found["conditions"]) == ("binary", ["cr", "bw"])
    assert found["excluded_conditions"] == ["cr"]
    assert (found["humans"], found["models_together"], found["model_pairs"]) == (None, None, [])


def test_categories_and_conditions_are_told_by_themselves() -> None:
    humans = summarise_dataset(to_trials(PEOPLE, SHOWN), FEW).json["humans"]

    by_category = humans["by_category"]
    accuracies = {name: by_category[name]["accuracy"] for name in (*SHOWN, "oven")}
    assert accuracies == {"cat": 1, "dog": 0.5, "car": 0.5, "bird": 0, "oven": None}
    undefined = {name: by_category[name]["undefined_pairs"] for name in SHOWN}
    assert undefined == {"cat": 1, "dog": 0, "car": 0, "bird": 1}
    assert humans["response_entropy"] == humans["by_condition"]["all"]["response_entropy"] == 1


def test_each_subject_is_compared_with_the_others() -> None:
    found = summarise_dataset(to_trials(PEOPLE | {"subject-03": SHOWN}, SHOWN), FEW).json

    row = found["subjects"]["subject-01"]
    assert (row["makers"], row["pairs"]) == (1, 2)
    assert values(row)["observed_consistency"] == 0.5


def test_difficulty_is_of_models_too_and_their_agreement_is_given_on_the_rest() -> None:
    answers = {"a": ["cat", "dog", "na", "na"], "b": ["cat", "na", "car", "na"]}

    found = summarise_dataset(to_trials(answers, SHOWN), FEW).json["models_together"]["difficulty"]

    assert (found["trivial"], found["impossible"], found["rest"]) == (1, 1, 2)
    assert found["on_the_rest"]["observed_consistency"]["value"] == 0
    assert found["on_the_rest"]["error_consistency"]["value"] == -1
