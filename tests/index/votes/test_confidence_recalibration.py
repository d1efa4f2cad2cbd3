"""The curve never falls, and no other such curve is nearer to the outcomes."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction
from itertools import groupby, pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index.errors import OneLabel, TooFewItems
from visual_memory_index.votes.confidence import (
    ITEMS_MIN,
    Recalibration,
    calibration_error,
    check_calibratable,
    fit,
    pooled,
)

Decisions = list[tuple[float, bool]]
SHARES = st.integers(1, 12).map(lambda votes: votes / 12)
DECISIONS = st.lists(
    st.tuples(SHARES | st.floats(0.001, 1), st.booleans()), min_size=10, max_size=20
)


def arrays(decisions: Decisions) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    confidences, correct = zip(*decisions, strict=True)
    return np.array(confidences, float), np.array(correct, bool)


def loss(groups: list[list[bool]]) -> Fraction:
    """Return the squared error if each group is predicted by its mean."""
    means = [Fraction(sum(group), len(group)) for group in groups]
    return sum(
        ((right - mean) ** 2 for group, mean in zip(groups, means, strict=True) for right in group),
        Fraction(0),
    )


def least_loss(decisions: Decisions) -> Fraction:
    """Return the least loss of all groupings of ascending confidences whose means do not fall."""
    ordered = sorted(decisions)
    values = [[right for _, right in each] for _, each in groupby(ordered, lambda pair: pair[0])]
    losses = []
    for cuts in product([False, True], repeat=len(values) - 1):
        groups = [[*values[0]]]
        for cut, value in zip(cuts, values[1:], strict=True):
            if cut:
                groups.append([*value])
            else:
                groups[-1] += value
        means = [Fraction(sum(group), len(group)) for group in groups]
        if all(lower <= higher for lower, higher in pairwise(means)):
            losses.append(loss(groups))
    return min(losses)


@given(st.lists(st.tuples(st.integers(0, 7).map(float), st.booleans()), min_size=1, max_size=16))
def test_pools_have_the_least_squared_error_of_all_that_never_fall(decisions: Decisions) -> None:
    pools = pooled(*arrays(decisions))

    groups = [
        [right for confidence, right in decisions if pool.low <= confidence <= pool.high]
        for pool in pools
    ]
    assert [(sum(group), len(group)) for group in groups] == [pool[:2] for pool in pools]
    assert sum(map(len, groups)) == len(decisions)
    assert loss(groups) == least_loss(decisions)


@given(DECISIONS)
def test_pools_are_in_order_and_each_is_more_accurate_than_the_last(decisions: Decisions) -> None:
    pools = pooled(*arrays(decisions))

    for lower, higher in pairwise(pools):
        assert lower.low <= lower.high < higher.low <= higher.high
        assert Fraction(lower.right, lower.items) < Fraction(higher.right, higher.items)


@given(DECISIONS, st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_a_larger_share_never_gets_less(decisions: Decisions, shares: list[float]) -> None:
    curve = fit(*arrays(decisions))

    calibrated = curve.apply(np.array(sorted([*shares, *curve.confidences]), float))

    assert (np.diff(calibrated) >= 0).all()
    assert calibrated[0] >= 0
    assert calibrated[-1] <= 1


def test_a_share_just_below_a_point_does_not_get_more_than_the_point() -> None:
    curve = Recalibration((0.0, 0.24154104525494813, 0.9908086786958019, 1.0), (0.0, 0.3, 0.85, 1))
    shares = np.array([0.9908086786958018, 0.9908086786958019])
    assert np.interp(shares, curve.confidences, curve.accuracies).tolist() == [
        0.8500000000000001,
        0.85,
    ]

    assert curve.apply(shares).tolist() == [0.85, 0.85]


@given(DECISIONS)
def test_the_curve_passes_through_its_points(decisions: Decisions) -> None:
    curve = fit(*arrays(decisions))

    assert curve.confidences[0] == 0
    assert curve.confidences[-1] == 1
    assert all(lower < higher for lower, higher in pairwise(curve.confidences))
    assert curve.apply(np.array(curve.confidences)).tolist() == list(curve.accuracies)


@given(DECISIONS)
def test_the_order_of_the_decisions_does_not_matter(decisions: Decisions) -> None:
    assert fit(*arrays(decisions)) == fit(*arrays(sorted(decisions, reverse=True)))


def test_a_few_decisions_give_the_curve_one_computes_by_hand() -> None:
    confidences = np.array([0.2] * 4 + [0.4] * 2 + [0.6] * 4)
    correct = np.array([1, 0, 0, 0, 1, 1, 1, 0, 1, 0], bool)

    curve = fit(confidences, correct)

    assert curve == Recalibration((0.0, 0.2, 0.4, 0.6, 1.0), (0.0, 0.25, 4 / 6, 4 / 6, 1.0))
    assert curve.apply(np.array([0.1, 0.3, 0.5, 0.8])) == pytest.approx(
        [0.125, (0.25 + 4 / 6) / 2, 4 / 6, (4 / 6 + 1) / 2]
    )


@pytest.mark.parametrize("right", [False, True])
def test_a_memory_that_is_always_right_or_wrong_has_a_curve_too(right: bool) -> None:
    curve = fit(np.full(ITEMS_MIN, 0.5), np.full(ITEMS_MIN, right))

    assert curve.apply(np.array([0.0, 0.5, 1.0])).tolist() == [0.0, float(right), 1.0]


def test_it_halves_the_error_of_timid_votes_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.2, 1, 2000)
    correct = rng.random(2000) < np.sqrt(confidences)
    curve = fit(confidences[:1000], correct[:1000])

    before = calibration_error(confidences[1000:], correct[1000:])
    after = calibration_error(curve.apply(confidences[1000:]), correct[1000:])

    assert after < before / 2


@given(DECISIONS)
def test_a_curve_survives_json(decisions: Decisions) -> None:
    curve = fit(*arrays(decisions))

    points = json.loads(json.dumps(asdict(curve)))

    assert Recalibration(**{name: tuple(values) for name, values in points.items()}) == curve


@pytest.mark.parametrize(
    ("label_counts", "queries", "sentence"),
    [
        ({}, None, "At least 10 entries are needed, but there are 0"),
        ({"cat": 9}, None, "At least 10 entries are needed, but there are 9"),
        ({"cat": 20, "dog": 20}, 9, "At least 10 queries are needed, but there are 9"),
        ({}, 10, "At least 2 entries are needed, but there are 0"),
    ],
)
def test_too_few_are_refused_with_how_many_are_needed(
    label_counts: dict[str, int], queries: int | None, sentence: str
) -> None:
    with pytest.raises(TooFewItems, match=sentence) as refusal:
        check_calibratable(label_counts, queries)

    needed, got = int(sentence.split()[2]), int(sentence.split()[-1])
    assert (refusal.value.needed, refusal.value.got) == (needed, got)


@pytest.mark.parametrize("queries", [None, 10])
def test_entries_of_one_label_cannot_be_calibrated(queries: int | None) -> None:
    with pytest.raises(OneLabel, match='labelled "cat", so no decision can be wrong'):
        check_calibratable({"cat": 10}, queries)


def test_ten_entries_of_two_labels_can_be_calibrated() -> None:
    check_calibratable({"cat": 9, "dog": 1})


def test_ten_queries_can_calibrate_a_smaller_memory() -> None:
    check_calibratable({"cat": 1, "dog": 1}, queries=10)


def test_the_smallest_half_of_those_asked_has_a_curve() -> None:
    curve = fit(np.linspace(0.1, 0.9, 5), np.array([False, True, False, True, True]))

    assert curve.apply(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
