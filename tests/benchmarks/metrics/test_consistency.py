from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from visual_memory_benchmarks.metrics.consistency import (
    ERROR,
    MEASURES,
    OBSERVED,
    average,
    compare,
    mean,
)


def ones(n: int) -> np.ndarray:
    return np.ones((1, n))


def naive(one: list[bool], other: list[bool]) -> list[float | None]:
    n = len(one)
    p = sum(one) / n
    q = sum(other) / n
    observed = 0
    for a, b in zip(one, other, strict=True):
        if a == b:
            observed += 1
    expected = p * q + (1 - p) * (1 - q)
    always_alike = sum(one) + sum(other) in (0, 2 * n)
    error = None if always_alike else (observed / n - expected) / (1 - expected)
    return [(p - q) ** 2, observed / n, expected, error]


@given(arrays.arrays(np.bool_, st.tuples(st.integers(2, 5), st.integers(1, 40))))
def test_all_measures_are_what_a_loop_over_pictures_counts(correct: np.ndarray) -> None:
    pairs = list(combinations(range(len(correct)), 2))

    first, second = zip(*pairs, strict=True)

    found = compare(correct, first, second, ones(correct.shape[1]))

    for at, (a, b) in enumerate(pairs):
        wanted = naive(correct[a].tolist(), correct[b].tolist())
        assert found[:, at, 0] == pytest.approx(
            [np.nan if each is None else each for each in wanted], abs=1e-12, nan_ok=True
        )


@given(arrays.arrays(np.bool_, st.tuples(st.just(2), st.integers(1, 30))))
def test_measures_do_not_depend_on_who_comes_first(correct: np.ndarray) -> None:
    weights = ones(correct.shape[1])

    np.testing.assert_array_equal(
        compare(correct, [0], [1], weights), compare(correct, [1], [0], weights)
    )


@given(arrays.arrays(np.bool_, st.integers(1, 30)))
def test_whoever_errs_on_the_same_pictures_is_fully_consistent(rights: np.ndarray) -> None:
    found = compare(np.stack([rights, rights]), [0], [1], ones(len(rights)))

    assert found[OBSERVED, 0, 0] == 1
    if rights.any() and not rights.all():
        assert found[ERROR, 0, 0] == pytest.approx(1)
    else:
        assert np.isnan(found[ERROR, 0, 0])


def test_independent_errors_have_no_consistency() -> None:
    correct = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)

    assert compare(correct, [0], [1], ones(4))[ERROR, 0, 0] == 0


def test_always_right_against_sometimes_is_0_and_not_undefined() -> None:
    correct = np.array([[1, 1], [1, 0]], bool)

    found = compare(correct, [0], [1], ones(2))

    assert found[ERROR, 0, 0] == 0


def test_weights_that_come_to_nothing_leave_everything_undefined() -> None:
    found = compare(np.ones((2, 3), bool), [0], [1], np.zeros((1, 3)))

    assert np.isnan(found).all()
    assert found.shape == (len(MEASURES), 1, 1)


def test_a_pair_is_averaged_over_the_conditions_in_which_it_is_defined() -> None:
    some = np.array([0.5, np.nan]).reshape(1, 2, 1)
    others = np.array([0.7, np.nan]).reshape(1, 2, 1)
    third = np.array([np.nan, np.nan]).reshape(1, 2, 1)

    found = average([some, others, third])

    assert found[0, 0, 0] == pytest.approx(0.6)
    assert np.isnan(found[0, 1, 0])
    assert mean(found, axis=1)[0, 0] == pytest.approx(0.6)


def test_averaging_over_conditions_is_not_pooling_them() -> None:
    easy, hard = np.array([[1, 1, 1, 0]] * 2, bool), np.array([[0, 0, 0, 1]] * 2, bool)
    easy[1], hard[1] = [1, 1, 0, 1], [0, 0, 1, 0]

    apart = average([compare(each, [0], [1], ones(4)) for each in (easy, hard)])
    pooled = compare(np.hstack([easy, hard]), [0], [1], ones(8))

    assert apart[ERROR, 0, 0] < 0 <= pooled[ERROR, 0, 0]
