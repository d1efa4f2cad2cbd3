"""Votes are those of the paper or, if a re-ranker ranked the neighbours, the re-ranker's."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import (
    NUMBERS,
    VOTINGS,
    Decision,
    Neighbors,
    Rule,
    decide,
    decide_reranked,
)
from visual_memory_index.votes.balance import balance_factors
from visual_memory_index.votes.voting import reliability, to_decision


def neighbors(labels: list[str], distances: list[float]) -> Neighbors:
    ids = [f"{number:04}" for number in range(len(labels))]
    return Neighbors(
        np.array([ids], object), np.array([labels], object), np.array([distances], float)
    )


def vote(labels: list[str], weights: list[float]) -> Decision:
    column = np.array(labels, object)
    return to_decision(column, column, np.zeros(len(labels)), np.array(weights))


def champion(labels: list[str], weights: list[float]) -> str:
    """Return the winner: in one pass, a label must get strictly more votes to take the lead."""
    totals, leader, best = dict[str, float](), "", 0.0
    for label, weight in zip(labels, weights, strict=True):
        totals[label] = totals.get(label, 0.0) + weight
        if totals[label] > best:
            leader, best = label, totals[label]
    return leader


@given(
    st.lists(
        st.tuples(
            st.sampled_from("0123"),
            st.sampled_from([0.5, 1.0, 1.5]) | st.floats(1e-7, 1e7, exclude_min=True),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_the_winner_is_who_a_walking_champion_would_be(votes: list[tuple[str, float]]) -> None:
    labels, weights = [label for label, _ in votes], [weight for _, weight in votes]

    decision = vote(labels, weights)

    assert decision.label == champion(labels, weights) == next(iter(decision.scores))


@pytest.mark.parametrize(
    ("labels", "winner"),
    [("abba", "b"), ("baab", "a"), ("abcabc", "a"), ("abccba", "c"), ("0110", "1"), ("00110", "0")],
)
def test_a_tie_stays_with_the_label_that_reached_the_score_first(labels: str, winner: str) -> None:
    (decision,) = decide(neighbors([*labels], [0.2] * len(labels)), VOTINGS["plurality"])

    assert decision.label == winner


def test_scores_are_the_totals_of_all_labels_the_winner_first() -> None:
    decision = vote(["cat", "dog", "owl", "dog"], [2.0, 1.0, 0.5, 1.5])

    assert list(decision.scores.items()) == [("dog", 2.5), ("cat", 2.0), ("owl", 0.5)]


def test_confidence_is_the_winners_share_of_all_weights() -> None:
    decision = vote(["cat", "dog", "cat"], [1.0, 1.5, 1.0])

    assert decision.confidence == 2.0 / 3.5


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=9), st.sampled_from(sorted(VOTINGS)))
def test_confidence_is_at_most_one(labels: list[str], rule: str) -> None:
    (decision,) = decide(neighbors(labels, [0.1 * n for n in range(len(labels))]), VOTINGS[rule])

    assert 1 / len(set(labels)) <= decision.confidence * (1 + 1e-15)
    assert decision.confidence <= 1
    assert (decision.confidence == 1) == (len(set(labels)) == 1)


@pytest.mark.parametrize("rule", sorted(VOTINGS))
def test_every_weight_is_positive_also_at_the_largest_distance(rule: str) -> None:
    weights = VOTINGS[rule](np.linspace(0, 2, 200)[np.newaxis])

    assert weights.shape == (1, 200)
    assert weights.dtype == np.float64
    assert (weights > 0).all()
    assert (np.diff(weights) <= 0).all()


@pytest.mark.parametrize("rule", sorted(VOTINGS))
def test_the_distances_of_one_query_weigh_alone_what_they_weigh_among_others(rule: str) -> None:
    distances = np.array([[0.1, 0.2, 0.4], [0.3, 0.3, 1.5]])

    weights = VOTINGS[rule](distances)

    assert weights.tolist() == [VOTINGS[rule](row).tolist() for row in distances]


def test_a_neighbor_that_misleads_others_votes_with_its_reliability() -> None:
    plain = neighbors(["cat", "dog", "dog"], [0.0, 0.5, 1.0])
    v = np.array([[6, 0, 1]])

    (decision,) = decide(
        Neighbors(plain.ids, plain.labels, plain.distances, v), VOTINGS["distance"]
    )

    assert decision.weights.tolist() == [0.25, math.exp(-0.5), 0.875 * math.exp(-1)]
    assert decision.scores == {"dog": math.exp(-0.5) + 0.875 * math.exp(-1), "cat": 0.25}


def test_a_weight_of_0_is_no_vote_wherever_it_stands() -> None:
    decision = vote(["owl", "cat", "dog", "cat"], [0.0, 1.0, 1.0, 0.0])

    assert list(decision.scores.items()) == [("cat", 1.0), ("dog", 1.0)]
    assert decision.confidence == 0.5


def test_every_query_gets_a_decision_with_its_own_neighbors() -> None:
    together = Neighbors(
        np.array([["1", "2"], ["3", "4"]], object),
        np.array([["cat", "cat"], ["dog", "owl"]], object),
        np.array([[0.0, 0.5], [0.25, 1.0]]),
    )

    decisions = decide(together, VOTINGS["distance"])

    assert [decision.label for decision in decisions] == ["cat", "dog"]
    assert decisions[1].ids.tolist() == ["3", "4"]
    assert decisions[1].labels.tolist() == ["dog", "owl"]
    assert decisions[1].distances.tolist() == [0.25, 1.0]
    assert decisions[1].weights.tolist() == [math.exp(-0.25), math.exp(-1)]
    assert decisions[0].scores == {"cat": 1 + math.exp(-0.5)}


def test_a_label_looks_like_a_number_and_is_none() -> None:
    (decision,) = decide(neighbors(["0", "0", "1"], [0.1, 0.2, 0.3]), VOTINGS["rank"])

    assert decision.label == "0"


def test_reliability_jumps_down_after_0() -> None:
    weights = reliability(np.array([0, 1, 2, 3, 5, 10, 100]))

    expected = [1.0, 0.875, 0.58333, 0.4375, 0.29167, 0.159091, 0.0173267]
    assert weights == pytest.approx(expected, abs=5e-6)


IDS = np.array([list("abcd")], dtype=object)
LABELS = np.array([["x", "y", "y", "x"]], dtype=object)
DISTANCES = np.array([[0.1, 0.2, 0.2, 0.7]])
NEIGHBORS = Neighbors(IDS, LABELS, DISTANCES)


@pytest.mark.parametrize("voting", list(VOTINGS))
def test_the_order_that_they_have_changes_nothing(voting: str) -> None:
    (plain,) = decide(NEIGHBORS, VOTINGS[voting])

    same = decide_reranked(NEIGHBORS, 0, VOTINGS[voting], list("abcd"))

    assert (same.label, same.confidence, same.scores) == (
        plain.label,
        plain.confidence,
        plain.scores,
    )


@given(st.permutations("abcd"), st.sampled_from(list(VOTINGS)))
def test_the_weights_of_the_rule_go_to_the_new_order(order: list[str], voting: str) -> None:
    decision = decide_reranked(NEIGHBORS, 0, VOTINGS[voting], order)

    weights = VOTINGS[voting](DISTANCES[0]).tolist()
    label_of = dict(zip("abcd", LABELS[0], strict=True))
    totals = {"x": 0.0, "y": 0.0}
    for id, weight in zip(order, weights, strict=True):
        totals[label_of[id]] += weight
    assert decision.ids.tolist() == order
    distance_of = dict(zip("abcd", DISTANCES[0], strict=True))
    assert decision.distances.tolist() == [distance_of[id] for id in order]
    assert decision.scores == totals
    assert totals[decision.label] == max(totals.values())


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=4, max_size=4).filter(any),
)
def test_given_weights_are_the_votes_and_0_is_none(weights: list[float]) -> None:
    ranking = dict(zip("abcd", weights, strict=True))

    decision = decide_reranked(NEIGHBORS, 0, VOTINGS["rank"], ranking)

    totals = {"x": weights[0] + weights[3], "y": weights[1] + weights[2]}
    assert decision.scores == {label: total for label, total in totals.items() if total}
    assert decision.weights.tolist() == sorted(weights, reverse=True)
    assert [ranking[id] for id in decision.ids] == decision.weights.tolist()


def test_of_equal_given_weights_the_nearer_go_first_however_many_there_are() -> None:
    m = 200
    ids = np.array([[f"{number:03}" for number in range(m)]], object)
    many = Neighbors(ids, np.full((1, m), "x", object), np.linspace(0, 1, m)[np.newaxis])
    ranking = {id: 1 + number % 2 for number, id in enumerate(ids[0])}

    decision = decide_reranked(many, 0, VOTINGS["rank"], ranking)

    assert decision.ids.tolist() == [*ids[0, 1::2], *ids[0, ::2]]
    assert decision.weights.dtype == np.float64


def test_the_smallest_weights_are_votes_when_they_are_softened() -> None:
    soft = Neighbors(IDS, LABELS, DISTANCES, np.array([[0, 0, 0, 6]]))

    decision = decide_reranked(soft, 0, VOTINGS["rank"], {"a": 0, "b": 0, "c": 0, "d": 5e-324})

    assert (decision.label, decision.confidence, decision.scores) == ("x", 1.0, {"x": 0.25})


def test_votes_are_softened_by_the_counts_of_those_who_got_them() -> None:
    v = np.array([[0, 0, 0, 6]])
    soft = Neighbors(IDS, LABELS, DISTANCES, v)

    decision = decide_reranked(soft, 0, VOTINGS["plurality"], list("dabc"))

    assert decision.weights.tolist() == [0.25, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("rule", sorted(VOTINGS))
def test_votes_are_divided_by_a_power_of_the_sizes_of_their_labels(rule: str) -> None:
    found = replace(
        neighbors(["a", "b", "a", "c"], [0.1, 0.2, 0.3, 0.4]),
        sizes=np.array([[100, 4, 100, 1]]),
    )
    plain = decide(found, VOTINGS[rule])[0]

    for balance, factors in (
        (0.0, [1, 1, 1, 1]),
        (0.5, [0.1, 0.5, 0.1, 1]),
        (1.0, [0.01, 0.25, 0.01, 1]),
    ):
        decision = decide(found, VOTINGS[rule], balance)[0]

        assert decision.weights.tolist() == (plain.weights * factors).tolist()
        assert decision.scores.keys() == {"a", "b", "c"}


@given(st.integers(1, 10**7), st.floats(0.0, 1.0))
def test_a_factor_is_the_nearest_number_to_the_power(size: int, balance: float) -> None:
    (factor,) = balance_factors(np.array([size]), balance).tolist()

    with localcontext(prec=80):
        exact = Decimal(size) ** -Decimal(balance)
        assert abs(Decimal(factor) - exact) <= Decimal(math.ulp(factor)) / 2


def test_a_balance_multiplies_what_a_reranker_says() -> None:
    found = replace(neighbors(["a", "b"], [0.1, 0.2]), sizes=np.array([[4, 1]]))

    ordered = decide_reranked(found, 0, VOTINGS["plurality"], ["0001", "0000"], 0.5)
    weighed = decide_reranked(found, 0, VOTINGS["plurality"], {"0000": 3.0, "0001": 2.0}, 0.5)

    assert (ordered.ids.tolist(), ordered.weights.tolist()) == (["0001", "0000"], [1.0, 0.5])
    assert (weighed.label, weighed.weights.tolist()) == ("b", [0.5, 2.0 / 3.0])


@given(
    st.floats(NUMBERS["temperature"].least, NUMBERS["temperature"].most),
    st.lists(st.floats(0.0, 2.0), min_size=1),
)
def test_the_temperature_of_softmax_votes(temperature: float, distances: list[float]) -> None:
    found = neighbors(["a"] * len(distances), sorted(distances))

    weights = Rule(voting="softmax", temperature=temperature).weights(found)

    expected = [math.exp((1.0 - distance) / temperature) for distance in sorted(distances)]
    np.testing.assert_allclose(weights[0], expected, rtol=1e-12)
