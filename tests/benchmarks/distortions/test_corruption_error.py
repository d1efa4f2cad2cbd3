from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_benchmarks.distortions import DISTORTIONS, CannotDistort
from visual_memory_benchmarks.distortions.corruption_error import (
    ALEXNET_ERRORS,
    COMMON,
    mean_error,
    mean_performance,
    relative_mean_error,
    relative_performance,
)

ALEXNET = {name: [1 - error] * 5 for name, error in ALEXNET_ERRORS.items()}
shares = st.floats(0, 1)


def test_fifteen_corruptions_count() -> None:
    assert len(COMMON) == 15
    family = [name for name, d in DISTORTIONS.items() if d.family == "imagenet-c"]
    assert tuple(family[:15]) == COMMON
    assert len(family) == 19


@given(st.lists(st.lists(shares, min_size=5, max_size=5), min_size=15, max_size=15), shares)
def test_mpc_is_the_mean_over_severities_and_corruptions(
    accuracies: list[list[float]], clean: float
) -> None:
    performance = dict(zip(COMMON, accuracies, strict=True))
    expected = sum(map(sum, accuracies)) / 75
    assert mean_performance(performance) == pytest.approx(expected)
    if clean > 0.01:
        assert relative_performance(performance, clean) == pytest.approx(expected / clean)


def test_validation_corruptions_do_not_count() -> None:
    more = ALEXNET | {"imagenet-c-spatter": [0.0] * 5}
    assert mean_performance(more) == mean_performance(ALEXNET)


def test_alexnet_has_a_mean_corruption_error_of_one() -> None:
    assert mean_error(ALEXNET) == pytest.approx(1)
    assert relative_mean_error(ALEXNET, 0.565, ALEXNET_ERRORS, 0.435) == pytest.approx(1)


def test_errors_stand_in_proportion_to_the_baseline() -> None:
    halved = {name: [1 - error / 2] * 5 for name, error in ALEXNET_ERRORS.items()}
    assert mean_error(halved) == pytest.approx(0.5)
    own = dict.fromkeys(COMMON, 0.25)
    assert mean_error({name: [0.5] * 5 for name in COMMON}, own) == pytest.approx(2)
    assert relative_mean_error(
        {name: [0.5] * 5 for name in COMMON}, 0.9, own, 0.05
    ) == pytest.approx(2)


def test_a_corruption_or_a_severity_that_is_missing_is_named() -> None:
    short = ALEXNET | {"imagenet-c-fog": [0.5] * 4}
    del short["imagenet-c-snow"]
    with pytest.raises(CannotDistort, match="imagenet-c-snow, imagenet-c-fog"):
        mean_performance(short)
