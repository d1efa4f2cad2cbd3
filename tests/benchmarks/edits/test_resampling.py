from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_benchmarks.edits.resampling import (
    Draws,
    holm,
    p_value,
    population,
    seed_weights,
)


def test_row_0_is_every_item_once_and_others_are_as_many_draws() -> None:
    found = population(np.array(["b", "a", "b", "c"]), 20, seed=1)

    assert found.items.tolist() == ["a", "b", "c"]
    assert found.counts[0].tolist() == [1, 1, 1]
    assert found.counts.sum(axis=1).tolist() == [3] * 21


def test_pictures_of_one_item_are_drawn_together() -> None:
    found = population(np.array(["a", "b", "c"]), 20, seed=1)

    weights = found.weights(np.array(["c", "a", "c"]))

    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == found.counts[:, 0]).all()


def test_the_same_seed_draws_alike() -> None:
    names = np.array(["a", "b", "c", "d"])

    one, same, other = (population(names, 20, seed=seed).counts for seed in (1, 1, 2))

    assert (one == same).all()
    assert (one != other).any()


def test_seeds_are_weighed_so_that_their_mean_scatters_as_much_as_it_should() -> None:
    values = np.array([0.3, -0.2, 0.9, 0.1, 0.4])

    draws = seed_weights(5, 200_000, seed=0) @ values

    assert draws[0] == pytest.approx(values.mean())
    assert draws[1:].mean() == pytest.approx(values.mean(), abs=1e-3)
    assert draws[1:].var() == pytest.approx(values.var(ddof=1) / 5, rel=0.02)


def test_one_seed_is_all_of_the_mean() -> None:
    assert (seed_weights(1, 10, seed=0) == 1).all()


def naive_p_value(draws: list[float]) -> float:
    above = sum(1 for draw in draws if draw >= 0)
    below = sum(1 for draw in draws if draw <= 0)
    return min(1.0, 2 * (1 + min(above, below)) / (1 + len(draws)))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_a_p_value_counts_the_draws_beyond_0(draws: list[float]) -> None:
    assert p_value(np.array(draws)) == pytest.approx(naive_p_value(draws[1:]))


def test_no_difference_is_no_evidence() -> None:
    assert p_value(np.zeros(100)) == 1


def test_a_p_value_is_never_0() -> None:
    assert p_value(np.full(1000, 0.5)) == pytest.approx(2 / 1000)


def test_what_is_undefined_has_no_p_value_and_undefined_draws_do_not_count() -> None:
    assert p_value(np.array([np.nan, 1, 1])) is None
    assert p_value(np.array([1, np.nan, np.nan])) is None
    assert p_value(np.array([1, np.nan, 1, 1])) == pytest.approx(2 / 3)


def test_holms_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def naive_holm(values: list[float]) -> list[float]:
    """Adjust step by step as published: the smallest times m, the next times m − 1, monotone."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    for step, at in enumerate(sorted(range(len(values)), key=lambda at: values[at])):
        highest = max(highest, min(1.0, (len(values) - step) * values[at]))
        adjusted[at] = highest
    return adjusted


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_what_the_steps_give(values: list[float]) -> None:
    assert holm(values) == pytest.approx(naive_holm(values))


def rejected(effect: float, worlds: int = 200, seeds: int = 8, items: int = 40) -> float:
    """Return how often p < 5 % where items and seeds have random effects of their own.

    Each seed tests half of the items.
    """
    rng = np.random.default_rng(0)
    names = np.array([f"{number:02}" for number in range(items)])
    counts = population(names, 500, seed=1).counts
    draws = seed_weights(seeds, 500, seed=2)
    return float(np.mean([p_of_world(effect, counts, draws, rng) < 0.05 for _ in range(worlds)]))


def p_of_world(effect: float, counts: Draws, draws: Draws, rng: np.random.Generator) -> float:
    seeds, items = draws.shape[1], counts.shape[1]
    values = effect + rng.normal(0, 0.2, (seeds, 1)) + rng.normal(0, 0.5, items)
    values = values + rng.normal(0, 0.5, (seeds, items))
    tested = np.array([rng.permutation(items) < items // 2 for _ in range(seeds)])
    means = counts @ (values * tested).T / (counts @ tested.T)
    found = p_value((draws * means).sum(axis=1))
    assert found is not None
    return found


def test_where_nothing_is_different_5_percent_are_hardly_ever_undercut() -> None:
    assert rejected(effect=0) <= 0.08


def test_a_clear_effect_is_found() -> None:
    assert rejected(effect=0.8) >= 0.95
