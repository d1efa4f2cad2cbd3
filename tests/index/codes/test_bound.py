"""No score errs by more than its bound, and no score bound excludes a row that could be as near."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import unit_rows
from visual_memory_index.codes.bound import float32_error, reach

DIMENSIONS = [1, 2, 3, 7, 64, 127, 768, 1280, 1281, 4096]


def random_units(m: int, d: int) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(0).standard_normal((m, d)).astype(np.float32))


def adversaries(d: int) -> NDArray[np.float32]:
    """Return unit rows whose sums lose most precision: equal, ascending, one large, sparse."""
    rng = np.random.default_rng(d)
    rows = np.ones((6, d))
    rows[1] = np.arange(1, d + 1)
    rows[2, 1:] = 2.0**-13
    rows[3] = np.geomspace(1, 1e-6, d)
    rows[4] = np.where(rng.random(d) < 0.9, 1e-9, rng.standard_normal(d)) + 1e-12
    rows[5] = 1 + rng.random(d) * 2.0**-20
    return unit_rows(rows.astype(np.float32))


@pytest.mark.parametrize("d", DIMENSIONS)
def test_no_order_of_float32_sums_strays_further_than_the_error_bound(d: int) -> None:
    rows = np.concatenate([random_units(20, d), adversaries(d), -adversaries(d)])
    products = rows[:, np.newaxis] * rows[np.newaxis]
    scores = [rows @ rows.T, products.sum(axis=-1), np.cumsum(products, axis=-1)[..., -1]]
    scores.append(np.cumsum(products[..., ::-1], axis=-1)[..., -1])

    exact = np.array([[math.fsum(a * b) for b in rows.astype(float)] for a in rows.astype(float)])

    assert all(score.dtype == np.float32 for score in scores)
    assert max(np.abs(score - exact).max() for score in scores) <= float32_error(d)


@given(st.floats(1e-4, 0.5), st.data())
def test_whatever_is_as_near_as_the_one_scored_scores_the_bound(
    error: float, data: st.DataObject
) -> None:
    cosine = data.draw(st.floats(-1, 1))
    nearer = data.draw(st.floats(cosine, 1))
    off = st.floats(-0.99 * error, 0.99 * error)  # rounding to float32 stays below the rest
    score, other = (np.float32(each + data.draw(off)) for each in (cosine, nearer))

    assert other >= reach(float(score), error)


def test_where_all_are_as_far_as_can_be_nothing_is_left_out() -> None:
    assert reach(-0.995, 0.01) == -math.inf
    assert reach(0.5, 0.01) == pytest.approx(0.48)


def test_products_beyond_one_are_as_near_as_one() -> None:
    assert reach(1.5, 0.01) == pytest.approx(0.99)
