"""Distances are float64 sums in one order, and the float32 scan errs no more than promised."""

from __future__ import annotations

import math
import warnings
from itertools import zip_longest

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import bad_rows, unit_rows
from visual_memory_index.rows.distances import exact_distances, fixed_sum

DIMENSIONS = [1, 2, 3, 7, 64, 127, 768, 1280, 1281, 4096]


def random_units(m: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(seed).standard_normal((m, d)).astype(np.float32))


def halved(terms: list[float]) -> float:
    """Sum in the fixed order: the upper half is added to the lower, until one term is left."""
    while len(terms) > 1:
        half = (len(terms) + 1) // 2
        upper = terms[half:]
        terms = [a if b is None else a + b for a, b in zip_longest(terms[:half], upper)]
    return terms[0]


@pytest.mark.parametrize("d", DIMENSIONS)
def test_a_sum_is_as_good_as_the_exact_one(d: int) -> None:
    terms = np.random.default_rng(d).standard_normal((5, d))

    sums = fixed_sum(terms.copy())

    rounding = (math.ceil(math.log2(d)) + 1) * 2.0**-53
    for row, total in zip(terms.tolist(), sums, strict=True):
        assert abs(total - math.fsum(row)) <= rounding * math.fsum(map(abs, row))


@pytest.mark.parametrize("d", DIMENSIONS)
def test_a_sum_has_one_order_whatever_stands_beside_it(d: int) -> None:
    terms = np.random.default_rng(d).standard_normal((9, d))

    together = fixed_sum(terms.copy())
    fortran = fixed_sum(np.asfortranarray(terms))
    alone = [fixed_sum(row.copy()) for row in terms]

    assert together.tolist() == fortran.tolist() == alone == [halved(row.tolist()) for row in terms]


@pytest.mark.parametrize("d", [1, 5, 768])
def test_a_distance_keeps_its_bits_whatever_rows_surround_it(d: int) -> None:
    query, rows = random_units(1, d, seed=1)[0], random_units(300, d)

    distances = exact_distances(query, rows)

    alone = [exact_distances(query, row[np.newaxis])[0] for row in rows]
    assert distances.tolist() == alone
    assert distances[::3].tolist() == exact_distances(query, rows[::3]).tolist()


def test_a_distance_is_the_same_from_both_sides() -> None:
    rows = random_units(20, 77)

    table = np.array([exact_distances(row, rows) for row in rows])

    assert np.array_equal(table, table.T)


def test_a_distance_lies_between_0_and_2_also_when_norms_are_a_little_more_than_1() -> None:
    long = np.array([[1 + 9e-7, 0], [-1 - 9e-7, 0]], np.float32)

    distances = exact_distances(long[0], long)

    assert distances.tolist() == [0.0, 2.0]


def test_no_rows_have_no_distances() -> None:
    assert exact_distances(random_units(1, 3)[0], np.empty((0, 3), np.float32)).shape == (0,)


def test_a_unit_row_keeps_its_bits() -> None:
    rows = random_units(100, 33)
    rows[:50] *= np.float32(1 + 5e-7)

    assert unit_rows(rows).tobytes() == rows.tobytes()


@pytest.mark.parametrize("scale", [1e20, 1e-30, 1e-44, 3e38, 1.0001, 7])
def test_a_row_of_any_scale_is_brought_to_unit_length(scale: float) -> None:
    rows = np.array([[3, -4, 0], [0, 0, 1]]) * scale / 5

    units = unit_rows(rows.astype(np.float32))

    assert np.abs(np.linalg.norm(units.astype(float), axis=1) - 1).max() < 1e-6
    assert units[1, 2] == 1
    assert unit_rows(units).tobytes() == units.tobytes()


def test_rows_without_a_direction_are_named() -> None:
    signalling = np.array([0x7F800001], np.uint32).view(np.float32)[0]
    rows = np.ones((6, 2), np.float32)
    rows[[0, 2, 3], 0] = [0, np.nan, -np.inf]
    rows[0, 1] = 0
    rows[5, 0] = signalling

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        units = unit_rows(rows)

    assert bad_rows(units).tolist() == [0, 2, 3, 5]
    assert np.array_equal(units[1], units[4])


@pytest.mark.parametrize("norms", [(1 - 9e-7, 1 - 9e-7), (1 - 9e-7, 1 + 9e-7), (1.0, 1 - 9e-7)])
def test_vectors_that_keep_their_bits_are_not_divided_by_their_norms(
    norms: tuple[float, float],
) -> None:
    direction = np.random.default_rng(3).standard_normal(64)
    rows = np.outer(norms, direction / np.linalg.norm(direction)).astype(np.float32)
    assert unit_rows(rows) is rows

    (distance,) = exact_distances(rows[0], rows[1:])

    assert distance == pytest.approx(max(0.0, 1 - math.prod(norms)), abs=2e-7)
    assert distance <= 2e-6  # so much is it from 1 − cosine, which is 0
