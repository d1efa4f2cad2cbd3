"""Decisions in bins of confidence: their number, mean confidence and accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index.errors import TooFewItems
from visual_memory_index.votes.confidence import Bin, by_confidence, calibration_error

DECISIONS = st.lists(
    st.tuples(
        st.integers(0, 60).map(lambda votes: votes / 60) | st.floats(0, 1),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def arrays(decisions: list[tuple[float, bool]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    confidences, correct = zip(*decisions, strict=True)
    return np.array(confidences, float), np.array(correct, bool)


def error_by_hand(decisions: list[tuple[float, bool]]) -> float:
    """Sum the calibration error by bins: (0, 1/15], …, (14/15, 1], with 0 in the first."""
    error = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = [
            (confidence, right)
            for confidence, right in decisions
            if low < confidence <= high or (number == 0 and confidence == 0)
        ]
        if inside:
            confidence = sum(confidence for confidence, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(decisions) * abs(accuracy - confidence)
    return error


@given(DECISIONS)
def test_the_calibration_error_is_the_one_by_hand(decisions: list[tuple[float, bool]]) -> None:
    error = calibration_error(*arrays(decisions))

    assert error == pytest.approx(error_by_hand(decisions), abs=1e-12)


@given(DECISIONS)
def test_every_decision_is_in_one_bin(decisions: list[tuple[float, bool]]) -> None:
    bins = by_confidence(*arrays(decisions))

    assert sum(each.count for each in bins) == len(decisions)
    assert sum(each.count * each.accuracy for each in bins) == pytest.approx(
        sum(right for _, right in decisions)
    )
    assert all(each.low - 1e-12 <= each.value <= each.high + 1e-12 for each in bins)
    assert [each.low for each in bins] == sorted({each.low for each in bins})


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    edges = np.arange(16) / 15

    bins = by_confidence(edges, np.ones(16, bool))

    assert [(each.high, each.count) for each in bins] == [
        (1 / 15, 2),
        *((number / 15, 1) for number in range(2, 16)),
    ]


def test_there_are_as_many_bins_as_are_asked_for() -> None:
    bins = by_confidence(np.array([0.2, 0.625, 0.75]), np.array([True, False, True]), bins=2)

    assert bins == [Bin(0.0, 0.5, 1, 0.2, 1.0), Bin(0.5, 1.0, 2, 0.6875, 0.5)]


def test_without_decisions_there_is_no_error_but_a_refusal() -> None:
    with pytest.raises(TooFewItems, match="At least 1 decisions are needed, but there are 0"):
        calibration_error(np.array([]), np.array([], bool))


@given(st.permutations(range(40)))
def test_the_order_of_decisions_makes_no_difference_to_any_bit(order: list[int]) -> None:
    rng = np.random.default_rng(0)
    confidences, correct = 0.8 + 0.05 * rng.random(40), rng.random(40) < 0.5
    expected = by_confidence(confidences, correct), calibration_error(confidences, correct)

    shuffled = confidences[order], correct[order]

    assert (by_confidence(*shuffled), calibration_error(*shuffled)) == expected
