from __future__ import annotations

import numpy as np
import pytest

from visual_memory_benchmarks.trials.categories import CATEGORIES, IMAGENET, decide

SIZES = {
    "airplane": 1,
    "bear": 4,
    "bicycle": 2,
    "bird": 49,
    "boat": 5,
    "bottle": 7,
    "car": 3,
    "cat": 6,
    "chair": 4,
    "clock": 3,
    "dog": 109,
    "elephant": 2,
    "keyboard": 2,
    "knife": 1,
    "oven": 1,
    "truck": 8,
}


def test_the_16_categories_have_as_many_classes_as_published() -> None:
    assert {name: len(indices) for name, indices in IMAGENET.items()} == SIZES
    assert list(CATEGORIES) == sorted(CATEGORIES)


def test_the_207_classes_are_each_of_one_category() -> None:
    indices = [index for of_one in IMAGENET.values() for index in of_one]

    assert len(indices) == len(set(indices)) == 207


def test_dogs_are_a_range_without_nine_of_its_classes() -> None:
    left_out = {151, 192, 204, 227, 242, 251, 258, 260, 264}

    assert set(IMAGENET["dog"]) == set(range(151, 269)) - left_out


def shares(**classes: float) -> np.ndarray:
    row = np.zeros(1000)
    for name, share in classes.items():
        row[int(name.removeprefix("c"))] = share
    return row


def test_a_category_wins_by_the_mean_of_its_classes_and_not_by_their_sum() -> None:
    rows = [shares(c152=0.3, c153=0.3, c499=0.1)]  # two of 109 dogs, the knife

    assert decide(rows).tolist() == ["knife"]


def test_where_nothing_is_in_a_category_there_is_no_answer() -> None:
    assert decide([shares(c0=1.0)]).tolist() == ["na"]


def test_a_tie_goes_to_the_last_category_of_the_alphabet() -> None:
    assert decide([shares(c404=0.5, c499=0.5)]).tolist() == ["knife"]


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_can_be_decided(category: str) -> None:
    row = np.zeros(1000)
    row[list(IMAGENET[category])] = 1

    assert decide([row]).tolist() == [category]
