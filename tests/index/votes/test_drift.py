"""The law of rejections among exchangeable queries, against an enumeration of all orders."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import threshold
from visual_memory_index.votes.drift import P_VALUE_MAX, WINDOW, drift


def rejections(distances: list[int], count: int) -> list[int]:
    """Return how many of ``count`` queries are rejected, for each choice of the queries."""
    found = []
    for queries in combinations(range(len(distances)), count):
        known = [each for at, each in enumerate(distances) if at not in queries]
        farthest = threshold(np.array(known, dtype=np.float64))
        found.append(sum(distances[at] > farthest for at in queries))
    return found


def at_least(rejected: int, found: list[int]) -> Fraction:
    return Fraction(sum(each >= rejected for each in found), len(found))


@pytest.mark.parametrize(("calibrated", "count"), [(1, 1), (2, 3), (10, 4), (19, 2), (21, 3)])
def test_p_values_and_expectations_are_those_of_all_orders_of_the_distances(
    calibrated: int, count: int
) -> None:
    found = rejections(list(range(calibrated + count)), count)

    for rejected in range(count + 1):
        told = drift(count, rejected, calibrated)
        assert told.p_value == float(at_least(rejected, found))
        assert told.expected == pytest.approx(sum(found) / len(found), abs=1e-12)


@given(st.lists(st.integers(0, 4), min_size=5, max_size=13), st.integers(1, 3))
def test_equal_distances_never_make_many_rejections_likelier(
    distances: list[int], count: int
) -> None:
    found = rejections(distances, count)

    for rejected in range(count + 1):
        told = drift(count, rejected, len(distances) - count)
        assert float(at_least(rejected, found)) <= told.p_value


@given(st.integers(1, 10**6), st.integers(0, WINDOW), st.data())
def test_p_values_are_those_of_the_beta_binomial_distribution(
    calibrated: int, count: int, data: st.DataObject
) -> None:
    rejected = data.draw(st.integers(0, count))
    b = math.ceil(Fraction(95, 100) * calibrated)
    a = calibrated - b + 1

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    share = math.fsum(
        math.comb(count, far) * math.exp(log_beta(far + a, count - far + b) - log_beta(a, b))
        for far in range(rejected, count + 1)
    )

    assert drift(count, rejected, calibrated).p_value == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("equal", [True, False])
def test_one_of_each_group_keeps_the_bound_and_all_of_them_break_it(equal: bool) -> None:
    """Twenty calibration scenes of ten frames, and windows of frames of new scenes."""
    rng = np.random.default_rng(0)
    windows, scenes, frames = 4000, 20, 10
    distances = rng.normal(size=(windows, scenes + WINDOW, 1))
    distances = distances + (0.0 if equal else 0.1) * rng.normal(
        size=(windows, scenes + WINDOW, frames)
    )
    known, asked = distances[:, :scenes], distances[:, scenes:, 0]

    def raised(known: NDArray[np.float64], calibrated: int) -> float:
        limits = [[threshold(each.ravel())] for each in known]
        rejected = (asked > np.array(limits)).sum(axis=1).tolist()
        return float(np.mean([drift(WINDOW, each, calibrated).drifting for each in rejected]))

    of_each = rng.integers(frames, size=(windows, scenes, 1))
    assert raised(np.take_along_axis(known, of_each, axis=2), scenes) <= 2 * P_VALUE_MAX
    assert raised(known, scenes * frames) > 10 * P_VALUE_MAX


def test_nothing_asked_is_no_drift() -> None:
    told = drift(0, 0, 100)

    assert (told.expected, told.p_value, told.drifting) == (0.0, 1.0, False)


@pytest.mark.parametrize(("calibrated", "least"), [(10, 12), (100, 7), (1000, 6)])
def test_a_drift_needs_more_rejections_the_fewer_queries_calibrated(
    calibrated: int, least: int
) -> None:
    raised = [rejected for rejected in range(21) if drift(20, rejected, calibrated).drifting]

    assert raised == list(range(least, 21))
    assert drift(20, least, calibrated).p_value <= P_VALUE_MAX
