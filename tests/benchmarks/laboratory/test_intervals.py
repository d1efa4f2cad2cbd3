from __future__ import annotations

import numpy as np
import pytest

from visual_memory_benchmarks.laboratory.intervals import (
    over_pictures,
    over_seeds,
    ratio,
    student,
)


def test_pictures_have_the_interval_of_their_standard_error() -> None:
    right = np.arange(400) % 4 > 0
    found = over_pictures(right)
    assert found.value == 0.75
    error = (0.75 * 0.25 / 400) ** 0.5
    assert found.low == pytest.approx(0.75 - 1.96 * error, abs=0.005)
    assert found.high == pytest.approx(0.75 + 1.96 * error, abs=0.005)


def test_a_picture_asked_twice_is_drawn_as_one() -> None:
    right = np.random.default_rng(0).random(200) < 0.5
    assert over_pictures([right, right]) == over_pictures(right)


def test_a_picture_that_was_not_asked_does_not_count() -> None:
    assert over_pictures([1.0, np.nan, 0.0, 1.0]).value == pytest.approx(2 / 3)
    assert over_pictures([np.nan]).value is None


def test_a_ratio_is_of_sums_and_undefined_where_nothing_counts() -> None:
    assert ratio([1, 0, 0], [1, 1, 0]).value == 0.5
    assert ratio([0, 0], [0, 0]).value is None


@pytest.mark.parametrize(
    ("freedom", "point"),
    [(1, 12.706), (4, 2.776), (9, 2.262), (10, 2.228), (19, 2.093), (10**6, 1.960)],
)
def test_students_points_are_those_of_the_tables(freedom: int, point: float) -> None:
    assert student(freedom) == pytest.approx(point, rel=0.001)


@pytest.mark.parametrize("seeds", [2, 3, 6, 10])
def test_an_interval_over_few_seeds_holds_the_truth_as_often_as_it_says(seeds: int) -> None:
    rng = np.random.default_rng(0)
    found = [over_seeds(rng.normal(size=seeds)) for _ in range(4000)]
    held = np.mean([each.low < 0 < each.high for each in found])  # type: ignore[operator]  # two values have an interval
    assert held == pytest.approx(0.95, abs=0.012)


def test_one_seed_and_undefined_values_have_no_interval() -> None:
    assert over_seeds([0.5]).low is None
    assert over_seeds([0.5, np.nan]).value is None


def test_a_statistic_of_seeds_is_drawn_with_whole_rows() -> None:
    rows = np.column_stack([np.arange(8.0), np.arange(8.0) + 1])
    found = over_seeds(rows, lambda drawn: float((drawn[:, 1] - drawn[:, 0]).mean()))
    assert (found.value, found.low, found.high) == (1, 1, 1)
