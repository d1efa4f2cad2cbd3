"""The whole memory is ranked as by sorting by exact distance and id, however close entries are."""

from __future__ import annotations

import math
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.in_rows import in_rows

from visual_memory_index import unit_rows
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.distances import exact_distances
from visual_memory_index.scan.ranking import WIDENED_AT_ONCE, rank_all, score_doubt

LONG = 9e-7  # by which a vector that counts as unit may be too long


def random_units(m: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(seed).standard_normal((m, d)).astype(np.float32))


def names(m: int, seed: int = 0) -> NDArray[np.object_]:
    """Return ids in another order than their rows, also where bytes and UTF-16 sort differently."""
    ids = [letter + str(number) for letter, number in zip(cycle("aé\uffff😀"), range(m))]
    return np.random.default_rng(seed).permutation(np.array(ids, object))


def sorted_rows(
    query: NDArray[np.float32], rows: NDArray[np.float32], ids: NDArray[np.object_]
) -> list[int]:
    distances = exact_distances(query, rows).tolist()
    return sorted(range(len(rows)), key=lambda row: (distances[row], str(ids[row]).encode()))


@st.composite
def crowds(draw: st.DrawFn) -> tuple[NDArray[np.float32], int]:
    """Draw unit vectors, equal or nearly so, some too long, and a number of rows in a block."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m, d = draw(st.integers(1, 60)), draw(st.sampled_from([1, 2, 3, 16, 64, 200]))
    centres = rng.standard_normal((draw(st.integers(1, 4)), d))
    spread = draw(st.sampled_from([0, 1e-8, 1e-7, 1e-6, 1e-3, 1]))
    rows = centres[rng.integers(len(centres), size=m)] + spread * rng.standard_normal((m, d))
    units = unit_rows(rows.astype(np.float32))
    if draw(st.booleans()):
        units = (units * (1 + rng.uniform(-LONG, LONG, (m, 1)))).astype(np.float32)
    return units, draw(st.integers(1, m))


@settings(max_examples=300)
@given(crowds())
def test_the_order_is_that_of_sorting_by_exact_distance_and_id(
    crowd: tuple[NDArray[np.float32], int],
) -> None:
    rows, block_rows = crowd
    ids, queries = names(len(rows)), np.concatenate([rows[:3], -rows[:1]])

    order = rank_all(queries, in_rows(rows, block_rows), ids.__getitem__)

    assert order.dtype == np.intp
    assert order.tolist() == [sorted_rows(query, rows, ids) for query in queries]


def test_two_sums_that_differ_by_rounding_alone_are_ranked_by_the_fixed_order() -> None:
    rng = np.random.default_rng(0)
    row = unit_rows((1 + rng.standard_normal((1, 1000))).astype(np.float32))
    pairs = rng.permuted(np.repeat(row, 100, axis=0), axis=1).reshape(50, 2, 1000)
    query, ids = np.full(1000, 1000**-0.5, np.float32), np.array(["b", "a"], object)

    orders = [
        rank_all(query[np.newaxis], in_rows(pair), ids.__getitem__)[0].tolist() for pair in pairs
    ]

    plain = [np.argsort(pair.astype(float) @ -query.astype(float)).tolist() for pair in pairs]
    assert orders == [sorted_rows(query, pair, ids) for pair in pairs] != plain


def test_distances_that_are_clamped_alike_go_by_id() -> None:
    lengths = 1 + np.linspace(0, LONG, 8)
    rows = np.outer([*lengths, *-lengths], [0.6, 0.8]).astype(np.float32)
    rows = np.concatenate([rows, random_units(3, 2)])
    ids, query = names(len(rows)), rows[7]

    order = rank_all(query[np.newaxis], in_rows(rows), ids.__getitem__)

    assert exact_distances(query, rows)[[1, 7, 9, 15]].tolist() == [0, 0, 2, 2]
    assert order[0].tolist() == sorted_rows(query, rows, ids)


def test_a_block_larger_than_what_is_widened_at_once_is_ranked_whole() -> None:
    rows = random_units(6, WIDENED_AT_ONCE // 4)
    rows[5] = rows[3]
    ids = names(6)

    order = rank_all(rows[3:5], in_rows(rows), ids.__getitem__)

    assert order.tolist() == [sorted_rows(query, rows, ids) for query in rows[3:5]]


def test_a_query_is_ranked_alike_alone_and_among_others() -> None:
    rows, queries, ids = random_units(300, 48), random_units(40, 48, seed=1), names(300)

    together = rank_all(queries, in_rows(rows, 70), ids.__getitem__)

    alone = [rank_all(query[np.newaxis], in_rows(rows), ids.__getitem__)[0] for query in queries]
    assert together.tolist() == np.array(alone).tolist()


def test_an_empty_memory_has_an_empty_order() -> None:
    assert rank_all(random_units(2, 3), Blocks(3), np.array([], object).__getitem__).shape == (2, 0)


@pytest.mark.parametrize("d", [1, 3, 64, 1280])
def test_no_score_strays_further_from_the_exact_distance_than_promised(d: int) -> None:
    rows = np.concatenate([random_units(30, d), unit_rows(np.ones((2, d), np.float32))])
    rows *= np.float32(1 + LONG)
    wide = rows.astype(np.float64)

    scores = -wide @ wide.T
    one_by_one = -np.cumsum(wide[:, np.newaxis] * wide[np.newaxis], axis=-1)[..., -1]
    true = np.array([[-math.fsum(a * b) for b in wide] for a in wide])

    exact = np.array([exact_distances(row, rows) for row in rows])
    for sums in (scores, one_by_one, true):
        assert np.abs(1 + np.clip(sums, -1, 1) - exact).max() <= score_doubt(d)
    assert 2 * d * 2**-53 < score_doubt(d) < 2 * (d + 3) * 2**-53
