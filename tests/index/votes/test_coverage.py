"""A rank is exact for a coverage's decimal form, and so is the distance at that rank."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.errors import BadParameter, TooFewItems
from visual_memory_index.votes.coverage import distance_from_memory, rank_at, threshold


@given(st.integers(1, 999), st.integers(0, 10_000))
def test_a_rank_is_that_of_whole_numbers(thousandths: int, count: int) -> None:
    rank = rank_at(thousandths / 1000, count)

    assert rank == -(-thousandths * count // 1000)


def test_a_rank_is_not_one_too_high_where_float64_would_make_it_so() -> None:
    assert math.ceil(0.55 * 100) == 56
    assert rank_at(0.55, 100) == 55


def test_the_distance_from_a_memory_is_the_mean_to_the_nearest_entry_and_class_mean() -> None:
    nearest, class_means = np.array([0.2, 0.4]), np.array([[0.3, 0.9], [np.inf, 0.5]])

    found = distance_from_memory(nearest, class_means)

    np.testing.assert_allclose(found, [0.25, 0.45])


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5, math.inf, math.nan])
def test_a_coverage_outside_of_0_to_1_is_refused_with_its_value(coverage: float) -> None:
    with pytest.raises(BadParameter, match=f"^coverage must be between.*not {coverage}"):
        rank_at(coverage, 10)


SCORES = st.lists(
    st.integers(0, 20).map(lambda tenth: tenth / 10) | st.floats(0, 2), min_size=1, max_size=30
)
NONE = np.array([], float)


@given(SCORES, st.integers(1, 99))
def test_the_threshold_is_the_least_score_that_keeps_enough(
    known: list[float], hundredths: int
) -> None:
    limit = threshold(np.array(known), hundredths / 100)

    keeps = [
        score
        for score in known
        if 100 * sum(each <= score for each in known) >= hundredths * len(known)
    ]
    assert limit == min(keeps)


def test_a_threshold_needs_a_known_query() -> None:
    with pytest.raises(TooFewItems):
        threshold(NONE)


def test_a_threshold_keeps_neither_all_nor_none() -> None:
    with pytest.raises(BadParameter, match=r"1\.0"):
        threshold(np.ones(5), kept=1.0)
