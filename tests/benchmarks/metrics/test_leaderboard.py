from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from visual_memory_benchmarks.metrics.leaderboard import (
    aggregate,
    correlations,
    human_likeness,
    mean_correlation,
    ranks,
)

TABLES = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 6), st.integers(2, 4)), elements=st.integers(-3, 3)
)


def test_equals_share_the_mean_of_their_ranks() -> None:
    assert ranks([[0.5], [0.9], [0.5], [0.1]])[:, 0].tolist() == [2.5, 1, 2.5, 4]


@given(TABLES)
def test_ranks_are_those_of_a_sorted_list(scores: np.ndarray) -> None:
    found = ranks(scores)

    for column, given_ranks in zip(scores.T.tolist(), found.T.tolist(), strict=True):
        order = sorted(column, reverse=True)
        for value, rank in zip(column, given_ranks, strict=True):
            places = [at + 1 for at, each in enumerate(order) if each == value]
            assert rank == sum(places) / len(places)


def row(difference: float, observed: float, error: float) -> dict[str, float]:
    names = ("accuracy_difference", "observed_consistency", "error_consistency")
    return dict(zip(names, (difference, observed, error), strict=True))


def test_a_small_accuracy_difference_and_much_consistency_are_like_people() -> None:
    rows = {"far": row(0.2, 0.5, 0.1), "near": row(0.1, 0.8, 0.4), "odd": row(0.3, 0.6, 0.4)}

    assert human_likeness(rows) == {"far": 8 / 3, "near": 3.5 / 3, "odd": 6.5 / 3}


def test_the_mean_rank_is_over_three_measures() -> None:
    rows = {"far": row(0.2, 0.5, 0.1), "near": row(0.1, 0.8, 0.4)}

    assert human_likeness(rows) == {"far": 2, "near": 1}


def test_three_aggregates_may_order_models_in_three_ways() -> None:
    found = aggregate(np.array([[8.0, 2.0, 0.0], [1.0, 6.0, 2.0], [2.0, 7.0, 0.0]]))

    firsts = [found["mean"].argmax(), found["z_mean"].argmax(), found["mean_rank"].argmin()]
    assert [int(first) for first in firsts] == [0, 1, 2]


def test_z_scores_are_by_the_deviation_of_the_population() -> None:
    found = aggregate(np.array([[1.0, 5.0], [3.0, 5.0]]))

    assert found["z_mean"].tolist() == [-1, 1]  # the second metric does not vary and is left out


def test_equal_models_have_no_z_mean() -> None:
    assert np.isnan(aggregate(np.array([[0.1, 0.3]] * 3))["z_mean"]).all()


@given(TABLES)
def test_correlations_are_pearsons(scores: np.ndarray) -> None:
    found = correlations(scores)

    for a in range(scores.shape[1]):
        for b in range(scores.shape[1]):
            one, other = scores[:, a], scores[:, b]
            if one.std() == 0 or other.std() == 0:
                assert np.isnan(found[a, b])
            else:
                assert found[a, b] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-9)


def test_the_mean_correlation_leaves_out_the_diagonal_and_what_is_undefined() -> None:
    matrix = np.array([[1, 0.2, np.nan], [0.2, 1, 0.4], [np.nan, 0.4, 1]])

    assert mean_correlation(matrix) == pytest.approx(0.3)


def test_correlations_of_what_goes_together_are_never_beyond_one() -> None:
    rng = np.random.default_rng(0)
    tables = [np.stack([x, 3 * x + 0.1, -2 * x], axis=1) for x in rng.random((300, 5))]

    found = np.stack([correlations(scores) for scores in tables])

    assert found.max() == 1
    assert found.min() == -1


def test_without_any_variation_there_is_no_mean_correlation() -> None:
    assert np.isnan(mean_correlation(correlations(np.ones((3, 2)))))
    assert np.isnan(correlations(np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]]))[0, 1])
