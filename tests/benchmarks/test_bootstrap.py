from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.benchmarks.made import to_trials

from visual_memory_benchmarks import consistency
from visual_memory_benchmarks.accuracy import accuracy
from visual_memory_benchmarks.bootstrap import Estimate, Resampling, estimate
from visual_memory_benchmarks.datasets import Dataset
from visual_memory_benchmarks.panel import Panel, panels


def panel(rights: list[bool], *others: list[bool]) -> Panel:
    makers = {
        f"m{at}": ["cat" if right else "na" for right in each]
        for at, each in enumerate((rights, *others))
    }
    [made] = panels(to_trials(makers, ["cat"] * len(rights)))
    return made


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 3))
def test_weights_count_draws_with_replacement_after_the_pictures_themselves(
    rights: list[bool], seed: int
) -> None:
    weights = Resampling(20, seed).weights(panel(rights))

    assert weights.shape == (21, len(rights))
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == len(rights)).all()
    assert (weights == weights.astype(int)).all()
    assert (weights >= 0).all()


def test_the_same_pictures_are_drawn_alike_and_others_are_not() -> None:
    rights = [True, False] * 10

    one = Resampling(5).weights(panel(rights))

    assert (one == Resampling(5).weights(panel(rights, rights))).all()
    assert not (one == Resampling(5, seed=1).weights(panel(rights))).all()


def test_pictures_are_drawn_alike_under_every_condition_that_shows_all_of_them() -> None:
    """As distortions do: levels of the same pictures are no independent samples."""
    dataset = Dataset("x", "parametric", ("a", "b", "c"))
    names = [*("one.png", "two.png") * 2, "three.png", "four.png"]
    trials = to_trials({"m": ["cat"] * 6}, ["cat"] * 6, names=names, dataset=dataset)
    conditions = np.repeat(["a", "b", "c"], 2)

    a, b, c = (
        Resampling(50).weights(each) for each in panels(replace(trials, conditions=conditions))
    )

    assert (a == b).all()
    assert not (a == c).all()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=25))
def test_draws_are_what_a_loop_over_drawn_pictures_computes(
    rights: list[tuple[bool, bool]],
) -> None:
    a, b = ([pair[at] for pair in rights] for at in (0, 1))
    both = panel(a, b)
    weights = Resampling(10).weights(both)

    draws = accuracy([both.of(["m0"])], [weights])
    measures = consistency.compare(both.correct, [0], [1], weights)[:, 0]

    order = [both.images.tolist().index(f"cat{at}.png") for at in range(len(rights))]
    for row, weight in enumerate(weights[:, order]):
        drawn = [
            pair for pair, times in zip(rights, weight, strict=True) for _ in range(int(times))
        ]
        assert np.isclose(draws[row], np.mean([pair[0] for pair in drawn]))
        np.testing.assert_allclose(measures[:, row], by_loop(drawn), atol=1e-12)


def by_loop(drawn: list[tuple[bool, bool]]) -> list[float]:
    """The four measures of two decision makers, one picture after another."""
    n = len(drawn)
    p, q = sum(pair[0] for pair in drawn) / n, sum(pair[1] for pair in drawn) / n
    observed = sum(pair[0] == pair[1] for pair in drawn) / n
    expected = p * q + (1 - p) * (1 - q)
    error = np.nan if expected == 1 else (observed - expected) / (1 - expected)
    return [(p - q) ** 2, observed, expected, error]


def test_an_interval_covers_the_middle_of_the_draws() -> None:
    draws = np.concatenate([[7.0], np.arange(101)])

    found = estimate(draws)

    assert (found.value, found.low, found.high) == pytest.approx((7, 2.5, 97.5))
    assert estimate(draws, 0.5) == Estimate(7.0, 25.0, 75.0)


def test_draws_in_which_a_value_is_undefined_are_left_out() -> None:
    assert estimate(np.array([1.0, np.nan, 2.0])) == Estimate(1.0, 2.0, 2.0)
    assert estimate(np.array([1.0, np.nan])) == Estimate(1.0, None, None)
    assert estimate(np.array([np.nan, 1.0])) == Estimate(None, None, None)


def width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_a_paired_difference_is_surer_than_the_values_it_is_of() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(300) < 0.5
    better = easy | (rng.random(300) < 0.1)
    both = panel(easy.tolist(), better.tolist())
    weights = Resampling(500).weights(both)

    worse, best = (accuracy([both.of([name])], [weights]) for name in ("m0", "m1"))

    gain, value = estimate(best - worse), estimate(worse)
    assert gain.low is not None
    assert gain.low > 0
    assert width(gain) < width(value)


def test_a_95_percent_interval_covers_the_truth_about_as_often() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        one = panel((rng.random(100) < 0.7).tolist())
        found = estimate(accuracy([one], [Resampling(200, int(rng.integers(2**31))).weights(one)]))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7 <= found.high

    assert 180 <= covered <= 198
