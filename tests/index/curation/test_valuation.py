"""A value is an entry's gain to a random coalition; means are over the queries that valued it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index.curation.valuation import Valuation, shapley


def utility(coalition: int, matches: list[bool], k: int) -> float:
    """Return the matches among the k nearest members, divided by k; bit i is the i-th nearest."""
    members = [place for place in range(len(matches)) if coalition >> place & 1]
    return sum(matches[place] for place in members[:k]) / k


def brute_force(matches: list[bool], k: int) -> list[float]:
    """Return Shapley values by definition: means over all coalitions of other entries, by size."""
    m = len(matches)
    utilities = [utility(coalition, matches, k) for coalition in range(2**m)]
    shares = [1 / (m * math.comb(m - 1, size)) for size in range(m)]
    return [
        math.fsum(
            shares[others.bit_count()] * (utilities[others | 1 << place] - utilities[others])
            for others in range(2**m)
            if not others >> place & 1
        )
        for place in range(m)
    ]


def random_case(seed: int) -> tuple[list[bool], int]:
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 11))
    return (rng.random(m) < rng.random()).tolist(), int(rng.integers(1, m + 4))


def test_a_value_is_shapleys_over_all_coalitions() -> None:
    for seed in range(200):
        matches, k = random_case(seed)

        values = shapley(np.array(matches), k)

        assert values == pytest.approx(brute_force(matches, k), abs=1e-12), (matches, k)


def test_the_cases_have_k_below_at_and_beyond_m() -> None:
    cases = [random_case(seed) for seed in range(200)]

    assert {np.sign(k - len(matches)) for matches, k in cases} == {-1, 0, 1}


@pytest.mark.parametrize("k", [1, 7, 1000, 5000])
def test_the_values_of_a_query_sum_to_its_utility(k: int) -> None:
    matches = np.random.default_rng(k).random((20, 3000)) < 0.1

    values = shapley(matches, k)

    assert values.sum(axis=1) == pytest.approx(matches[:, :k].sum(axis=1) / k, abs=1e-12)


def random_memory(
    n: int, m: int, seed: int = 0
) -> tuple[NDArray[np.object_], NDArray[np.intp], list[str]]:
    """Return labels of m entries, an order of them for each of n queries, and query labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array(["cat", "dog", "owl"], object), m)
    order = np.array([rng.permutation(m) for _ in range(n)])
    return labels, order, rng.choice(labels, n).tolist()


def test_a_mean_is_over_all_queries() -> None:
    labels, order, of_queries = random_memory(5, 7)
    valuation = Valuation(labels, 3)

    valuation.add(order, of_queries)

    sums = np.zeros(7)
    for rows, label in zip(order, of_queries, strict=True):
        sums[rows] += brute_force((labels[rows] == label).tolist(), 3)
    assert valuation.means() == pytest.approx(sums / 5, abs=1e-12)


def test_an_entry_that_asks_is_valued_by_the_others_alone() -> None:
    labels, order, _ = random_memory(8, 8)
    valuation = Valuation(labels, 3)

    valuation.add(order, labels.tolist(), own=np.arange(8))

    sums = np.zeros(8)
    for own, ranked in enumerate(order):
        rows = ranked[ranked != own]
        sums[rows] += brute_force((labels[rows] == labels[own]).tolist(), 3)
    assert valuation.means() == pytest.approx(sums / 7, abs=1e-12)


def test_each_entry_is_divided_by_the_queries_that_valued_it() -> None:
    labels, order, _ = random_memory(2, 4, seed=1)
    labels[:] = "cat"
    valuation = Valuation(labels, 10)

    valuation.add(order, ["cat", "cat"], own=np.array([2, 2]))
    valuation.add(order[:1], ["cat"], own=np.array([0]))

    assert valuation.means() == pytest.approx([0.1, 0.1, 0.1, 0.1], abs=1e-15)


def test_how_queries_are_cut_into_calls_changes_no_bit() -> None:
    labels, order, of_queries = random_memory(60, 9000)
    own = np.arange(60)
    whole, cut = Valuation(labels, 4), Valuation(labels, 4)

    whole.add(order, of_queries, own)
    for start, end in itertools.pairwise([0, 1, 2, 37, 60]):
        cut.add(order[start:end], of_queries[start:end], own[start:end])

    assert whole.means().any()
    assert whole.means().tobytes() == cut.means().tobytes()


def test_a_query_of_a_label_that_nobody_has_values_all_at_nothing() -> None:
    labels, order, _ = random_memory(1, 6)
    valuation = Valuation(labels, 2)
    valuation.add(order, ["cat"])
    before = valuation.means()

    valuation.add(order, ["bee"])

    assert before.any()
    assert valuation.means().tolist() == (before / 2).tolist()


def test_an_entry_that_no_query_has_valued_is_worth_nothing() -> None:
    valuation = Valuation(np.array(["cat"], object), 1)

    valuation.add(np.array([[0]]), ["cat"], own=np.array([0]))

    assert valuation.means().tolist() == [0.0]
