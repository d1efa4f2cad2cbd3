from __future__ import annotations

import numpy as np
import pytest
from tests.benchmarks.made import joined, to_trials

from visual_memory_benchmarks.errors import BadTrials
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import panels
from visual_memory_benchmarks.trials.trials import check, image_id, is_person, makers


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("0000_cl_s01_bw_boat_40_n02951358_5952.JPEG", "n02951358_5952.JPEG"),
        ("0002_s5n_s01_0_bird_00_bird2-clock3.png", "bird2-clock3.png"),
        ("airplane1-bicycle2.png", "airplane1-bicycle2.png"),
    ],
)
def test_an_image_id_is_the_part_that_all_who_answered_share(name: str, image: str) -> None:
    assert image_id(name) == image


def test_people_are_called_subjects() -> None:
    assert [is_person(name) for name in ("subject-01", "resnet50", "subject")] == [
        True,
        False,
        False,
    ]


def test_no_answer_is_wrong_and_stays() -> None:
    trials = check(to_trials({"lite0": ["na", "cat"]}, ["cat", "cat"]))

    assert trials.responses.tolist() == ["na", "cat"]
    assert [panel.correct.tolist() for panel in panels(trials)] == [[[False, True]]]


def test_people_and_models_come_apart_in_alphabetical_order() -> None:
    answers = {name: ["cat"] for name in ("subject-02", "b", "subject-01", "a")}

    assert makers(to_trials(answers, ["cat"])) == (["subject-01", "subject-02"], ["a", "b"])


def test_joined_trials_follow_each_other() -> None:
    one, other = (to_trials({name: ["cat"]}, ["cat"]) for name in ("a", "b"))

    assert joined([one, other]).makers.tolist() == ["a", "b"]


def test_a_picture_answered_twice_is_refused() -> None:
    trials = to_trials({"a": ["cat", "cat"]}, ["cat", "cat"], names=["cat1.png", "9_cat1.png"])

    with pytest.raises(BadTrials, match=r"trial 2: a answered cat1.png .* before, at trial 1"):
        check(trials)


def test_a_picture_may_be_answered_in_each_condition() -> None:
    parts = [
        to_trials({"a": ["cat"]}, ["cat"], dataset=DATASETS["colour"], condition=condition)
        for condition in ("cr", "bw")
    ]

    assert len(check(joined(parts))) == 2


def test_a_picture_of_two_categories_is_refused() -> None:
    trials = joined(
        [
            to_trials({"a": ["cat"]}, ["cat"], names=["x.png"]),
            to_trials({"b": ["cat"]}, ["dog"], names=["x.png"]),
        ]
    )

    with pytest.raises(BadTrials, match=r"trial 2: the picture x.png is of .* dog here and cat at"):
        check(trials)


def test_conditions_of_another_dataset_are_refused_with_those_there_are() -> None:
    trials = to_trials({"a": ["cat"]}, ["cat"], dataset=DATASETS["colour"], condition="c50")

    with pytest.raises(BadTrials, match=r"colour has no condition 'c50'; it has cr, bw"):
        check(trials)


def test_a_decision_maker_needs_a_name() -> None:
    with pytest.raises(BadTrials, match="has no name"):
        check(to_trials({"": ["cat"]}, ["cat"]))


def test_rows_are_chosen_by_mask_or_by_number() -> None:
    trials = to_trials({"a": ["cat", "dog"]}, ["cat", "dog"])

    assert trials.where(np.array([False, True])).responses.tolist() == ["dog"]
    assert trials.where(np.array([1, 0])).responses.tolist() == ["dog", "cat"]
