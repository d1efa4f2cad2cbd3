"""Votes of re-ranked neighbours are the rule's or the given ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import VOTINGS, Neighbors, decide, decide_reranked

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
