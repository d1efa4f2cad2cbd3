from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.benchmarks.made import to_trials

from visual_memory_benchmarks.metrics import consistency
from visual_memory_benchmarks.metrics.accuracy import accuracy
from visual_memory_benchmarks.metrics.bootstrap import (
    GROUPS,
    Estimate,
    Resampling,
    Values,
    bca,
    estimate,
    percentiles,
    weights,
)
from visual_memory_benchmarks.trials.datasets import Dataset
from visual_memory_benchmarks.trials.panel import Panel, panels


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

    assert weights.shape == (21 + GROUPS, len(rights))
    assert (weights[0] == 1).all()
    assert (weights[:21].sum(axis=1) == len(rights)).all()
    assert (weights == weights.astype(int)).all()
    assert (weights >= 0).all()


def test_the_same_pictures_are_drawn_alike_and_others_are_not() -> None:
    rights = [True, False] * 10

    one = Resampling(5).weights(panel(rights))

    assert (one == Resampling(5).weights(panel(rights, rights))).all()
    assert not (one == Resampling(5, seed=1).weights(panel(rights))).all()


def test_pictures_are_drawn_alike_under_every_condition_that_shows_all_of_them() -> None:
    """Levels of one distortion show the same pictures, so they are no independent samples."""
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
    """Compute the four measures of two decision makers, picture by picture."""
    n = len(drawn)
    p, q = sum(pair[0] for pair in drawn) / n, sum(pair[1] for pair in drawn) / n
    observed = sum(pair[0] == pair[1] for pair in drawn) / n
    expected = p * q + (1 - p) * (1 - q)
    error = np.nan if expected == 1 else (observed - expected) / (1 - expected)
    return [(p - q) ** 2, observed, expected, error]


@pytest.mark.parametrize("n", [7, 100, 250])
def test_each_picture_is_left_out_once_with_a_hundredth_of_all(n: int) -> None:
    left_out = weights(n, 3, [0])[-GROUPS:]

    assert ((left_out == 0).sum(axis=0) == 1).all()
    assert ((left_out == 1).sum(axis=0) == GROUPS - 1).all()
    assert set((left_out == 0).sum(axis=1)) <= {n // GROUPS, n // GROUPS + 1}


def test_percentiles_are_the_middle_of_the_draws() -> None:
    draws = np.arange(101.0)

    found = percentiles(7.0, draws)

    assert (found.value, found.low, found.high) == pytest.approx((7, 2.5, 97.5))


@pytest.mark.parametrize("interval", [percentiles, lambda value, drawn: bca(value, drawn, drawn)])
def test_draws_in_which_a_value_is_undefined_are_left_out(
    interval: Callable[[float, Values], Estimate],
) -> None:
    assert interval(1.0, np.array([np.nan, 2.0])) == Estimate(1.0, 2.0, 2.0)
    assert interval(1.0, np.array([np.nan])) == Estimate(1.0, None, None)
    assert interval(np.nan, np.array([1.0])) == Estimate(None, None, None)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "statistic",
    [
        lambda drawn: drawn.mean(axis=-1),
        lambda drawn: (drawn**2).mean(axis=-1),
        lambda drawn: drawn.std(axis=-1),
        lambda drawn: 1 / (1 + drawn.mean(axis=-1)),
    ],
)
def test_bca_is_that_of_scipy_on_the_same_draws(
    statistic: Callable[[Values], Values], seed: int
) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    values = rng.exponential(size=60)
    drawn = statistic(values[rng.integers(60, size=(20_000, 60))])
    left_out = np.array([statistic(np.delete(values, at)) for at in range(60)])

    found = bca(float(statistic(values)), drawn, left_out)

    draws = SimpleNamespace(bootstrap_distribution=drawn)
    peer = stats.bootstrap(
        (values,),
        lambda sample, axis: statistic(sample),
        n_resamples=0,
        bootstrap_result=draws,
        method="BCa",
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), rel=1e-12)


def test_the_interval_of_a_mean_is_that_of_all_pictures_left_out_one_by_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(GROUPS) < 0.9
    drawn = weights(GROUPS, 500, [1])
    rows = drawn @ scores / drawn.sum(axis=1)
    left_out = np.array([np.delete(scores, at).mean() for at in range(GROUPS)])

    assert estimate(rows) == bca(rows[0], rows[1:-GROUPS], left_out)


def test_intervals_of_a_mean_of_squares_hold_the_truth_though_draws_lie_above_it() -> None:
    """Accuracy differences are such squares."""
    rng = np.random.default_rng(0)
    truths = rng.normal(0, 0.07, 30)
    drawn = np.stack([weights(150, 400, [at]) for at in range(len(truths))])
    held, by_percentiles = 0, 0
    for _ in range(60):
        gaps = truths[:, None] + rng.normal(0, 0.6, (len(truths), 150))
        rows = (np.einsum("crn,cn->cr", drawn, gaps) / drawn.sum(axis=2)) ** 2
        rows = rows.mean(axis=0)
        truth = float((truths**2).mean())
        found = estimate(rows, least=0.0)
        naive = percentiles(rows[0], rows[1:-GROUPS])
        assert found.low is not None
        assert found.high is not None
        assert naive.low is not None
        held += found.low <= truth <= found.high
        by_percentiles += naive.low <= truth

    assert held >= 54
    assert by_percentiles <= 6


def test_no_end_is_below_what_a_value_can_be() -> None:
    rows = (weights(50, 300, [0]) @ np.tile([1.0, -1.0], 25) / 50) ** 2

    found = estimate(rows, least=0.0)

    assert found.value == 0
    assert found.low == 0


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
