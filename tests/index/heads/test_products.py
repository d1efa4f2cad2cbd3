"""Products and inverses: their accuracy, and that their bits depend on the numbers alone."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visual_memory_index.heads.products import inverse, product, rounded_inverse

NUMBERS = st.floats(-1e6, 1e6).map(lambda number: round(number, 9))


@st.composite
def factors(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows, columns, inner = (draw(st.integers(1, 6)) for _ in range(3))
    left, right = (draw(arrays(np.float64, (n, inner), elements=NUMBERS)) for n in (rows, columns))
    return left, right


@given(factors())
def test_a_product_is_off_by_rounding_errors_of_the_largest_numbers(
    both: tuple[np.ndarray, np.ndarray],
) -> None:
    left, right = both

    found = product(left, right)

    for row, of_row in zip(left, found, strict=True):
        for column, number in zip(right, of_row, strict=True):
            exact = sum(Fraction(a) * Fraction(b) for a, b in zip(row, column, strict=True))
            scale = len(row) * np.abs(row).max() * np.abs(column).max()
            assert abs(Fraction(number) - exact) <= Fraction(scale) * Fraction(2) ** -50


@pytest.mark.parametrize("inner", [1, 7, 768, 3000])
def test_a_number_depends_on_one_row_of_each_matrix_alone(inner: int) -> None:
    rng = np.random.default_rng(inner)
    left, right = rng.normal(size=(65, inner)), rng.normal(size=(33, inner)) * 1e-3

    whole = product(left, right)

    for at in (0, 1, 64):
        np.testing.assert_array_equal(product(left[at : at + 1], right), whole[at : at + 1])
    np.testing.assert_array_equal(product(left[::-2], right[5:9]), whole[::-2, 5:9])
    np.testing.assert_array_equal(product(right, left), whole.T)
    # A sum does not depend on the order of its terms.
    order = rng.permutation(inner)
    np.testing.assert_array_equal(product(left[:, order], right[:, order]), whole)


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 64, 65, 200])
def test_an_inverse_is_one(size: int) -> None:
    rng = np.random.default_rng(size)
    half = rng.normal(size=(size, size))
    matrix = half @ half.T + np.eye(size)

    found = inverse(matrix)

    assert found is not None
    np.testing.assert_array_equal(found, found.T)
    error = np.abs(found @ matrix - np.eye(size)).max()
    assert error <= 2e-16 * size * np.linalg.cond(matrix)
    again = inverse(matrix.copy(order="F"))
    assert again is not None
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
def test_the_inverse_of_a_matrix_of_low_rank_and_a_ridge_is_right_and_positive(
    ridge: float,
) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 128))
    rows *= (2000 / (rows**2).sum(axis=1, keepdims=True)) ** 0.5
    exact = (
        np.eye(128) - rows.T @ np.linalg.inv(ridge * np.eye(20) + rows @ rows.T) @ rows
    ) / ridge

    found = inverse(rows.T @ rows + ridge * np.eye(128))

    assert found is not None
    assert np.abs(found - exact).max() <= 1e-7 * np.abs(exact).max()
    assert np.linalg.eigvalsh(found)[0] > 0.0


def test_a_matrix_without_an_inverse_has_none() -> None:
    row = np.arange(1.0, 101.0)

    assert inverse(np.zeros((1, 1))) is None
    assert inverse(-np.eye(80)) is None
    assert inverse(np.outer(row, row) - np.eye(100)) is None


@pytest.mark.parametrize("invert", [inverse, rounded_inverse])
def test_a_matrix_that_is_not_positive_definite_has_no_inverse(invert: Any) -> None:
    assert invert(np.diag([1.0, -1.0, 2.0])) is None
    np.testing.assert_allclose(invert(np.diag([1.0, 4.0])), np.diag([1.0, 0.25]))
