"""Shares of a head, and their blend with votes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import Neighbors, Rule
from visual_memory_index.records.neighbors import HeadScores
from visual_memory_index.votes.shares import SCORED_MAX, head_shares, shares

LABELS = ("a", "b", "c")
SCORES = st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3)


def near(labels: str, head: HeadScores | None) -> Neighbors:
    column = np.array([list(labels)], object)
    distances = np.linspace(0.0, 1.0, len(labels))[np.newaxis]
    return Neighbors(column, column, distances, sizes=np.ones((1, len(labels)), int), head=head)


def of(scores: list[float], counts: tuple[int, ...] = (1, 1, 1)) -> HeadScores:
    row = np.array([scores])
    return HeadScores(LABELS, np.array(counts, float), row, 1.0 - row)


@given(SCORES, st.floats(0.005, 10.0), st.floats(0.0, 1.0), st.permutations([1, 10, 500]))
def test_shares_are_a_softmax_with_the_sizes_of_labels(
    scores: list[float], temperature: float, balance: float, counts: list[int]
) -> None:
    (found,) = head_shares(of(scores, tuple(counts)), temperature, balance).tolist()

    best = max(scores)
    expected = [
        count ** (1.0 - balance) * math.exp((score - best) / temperature)
        for score, count in zip(scores, counts, strict=True)
    ]
    assert found == pytest.approx([each / sum(expected) for each in expected], rel=1e-9, abs=1e-12)


def test_if_no_label_has_another_entry_none_has_a_share() -> None:
    assert shares(np.full((1, 2), -np.inf), 0.05).tolist() == [[0.0, 0.0]]
    assert shares(np.array([[1.0, -1.0]]), 0.05)[0, 1] > 0.0


def test_a_label_without_another_entry_has_no_share() -> None:
    (found,) = head_shares(of([0.5, -np.inf, 0.5]), 0.05, 1.0).tolist()

    assert found == [0.5, 0.0, 0.5]


@given(SCORES, st.floats(0.0, 1.0), st.text("abc", min_size=1, max_size=6))
def test_a_blend_is_of_both_shares(scores: list[float], blend: float, labels: str) -> None:
    head = of(scores)
    rule = Rule(head="means", blend=blend, voting="plurality")

    (decision,) = rule.decide(near(labels, head))
    (voted,) = Rule(voting="plurality").decide(near(labels, None))

    (found,) = head_shares(head, rule.head_temperature, 0.0)
    for label, share in zip(LABELS, found.tolist(), strict=True):
        votes = labels.count(label) / len(labels)
        expected = blend * share + (1.0 - blend) * votes
        assert decision.scores[label] == pytest.approx(expected, abs=1e-12)
    assert list(decision.scores.values()) == sorted(decision.scores.values(), reverse=True)
    assert decision.label == next(iter(decision.scores))
    assert decision.confidence == pytest.approx(decision.scores[decision.label])
    added = sum(decision.weights[[label == decision.label for label in labels]])
    own = blend * found[LABELS.index(decision.label)]
    assert decision.scores[decision.label] == pytest.approx(own + added, abs=1e-12)
    if blend == 0.0:
        assert decision.label == voted.label


@pytest.mark.parametrize("blend", [0.0, 0.5, 1.0])
def test_a_label_that_the_head_does_not_know_any_more_is_scored_by_votes_alone(
    blend: float,
) -> None:
    (decision,) = Rule(head="means", blend=blend).decide(near("ab", of([0.5, 0.5, -np.inf])))

    assert set(decision.scores) == {"a", "b"}


@given(st.floats(0.0, 1.0))
def test_each_query_may_have_counts_of_its_own(balance: float) -> None:
    counts = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    scores = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])

    together = head_shares(HeadScores(LABELS, counts, scores, 1.0 - scores), 0.05, balance)

    for row, own, found in zip(scores, counts, together, strict=True):
        alone = HeadScores(LABELS, own, row[np.newaxis], 1.0 - row[np.newaxis])
        assert head_shares(alone, 0.05, balance)[0].tolist() == found.tolist()


def test_equal_scores_come_in_the_order_of_the_votes_then_of_the_labels() -> None:
    rule = Rule(head="means", blend=0.5, voting="plurality")

    (decision,) = rule.decide(near("cb", of([0.0, 0.0, 0.0])))

    assert list(decision.scores) == ["c", "b", "a"]


def test_of_many_equal_scores_the_first_by_label_are_listed_first() -> None:
    names = tuple(f"{number:03}" for number in range(900))
    scores = np.tile([0.1, 0.0, 0.2], 300)[np.newaxis]
    head = HeadScores(names, np.ones(900), scores, 1.0 - scores)

    (decision,) = Rule(k=700, head="means", blend=1.0).decide(near("z", head))

    expected = [*names[2::3], *names[::3], *names[1::3]]
    listed = [label for label in decision.scores if label != "z"]
    assert listed == expected[: len(listed)]
    assert len(listed) > 600


def test_a_ranking_is_blended_as_votes_are() -> None:
    rule = Rule(head="means", blend=0.5, voting="rank")
    found = near("ab", of([0.0, 0.0, 0.3]))

    decision = rule.decide_reranked(found, 0, ["b", "a"])

    (plain,) = rule.decide(found)
    assert decision.scores["b"] == plain.scores["a"]
    assert decision.scores["c"] == plain.scores["c"]


def test_a_ranking_is_blended_with_the_scores_of_its_own_query() -> None:
    rows = np.array([[0.9, 0.0, 0.0], [0.0, 0.0, 0.9]])
    rule, column = Rule(head="means", blend=0.5), np.array([list("ab")] * 2, object)
    found = Neighbors(
        column,
        column,
        np.tile([0.0, 1.0], (2, 1)),
        sizes=np.ones((2, 2), int),
        head=HeadScores(LABELS, np.ones(3), rows, 1.0 - rows),
    )

    decided = [rule.decide_reranked(found, at, ["a", "b"]).scores for at in (0, 1)]

    assert decided == [each.scores for each in rule.decide(found)]
    assert decided[1]["c"] > decided[0]["c"]


@pytest.mark.parametrize("weights", [[1e-310, 1e-311], [5e-324, 0.0], [1e-320, 1e300]])
def test_the_smallest_votes_are_shares_like_others(weights: list[float]) -> None:
    head, rule = of([0.1, 0.2, 0.3]), Rule(head="means")

    decision = rule.decide_reranked(near("ab", head), 0, dict(zip("ab", weights, strict=True)))

    assert math.fsum(decision.scores.values()) == pytest.approx(1.0)
    assert all(0.0 <= weight <= 0.5 for weight in decision.weights.tolist())
    (shares,) = head_shares(head, rule.head_temperature, 0.0)
    total = weights[0] / max(weights) + weights[1] / max(weights)
    for at in (0, 1):
        votes = weights[at] / max(weights) / total
        assert decision.scores["ab"[at]] == pytest.approx(0.5 * shares[at] + 0.5 * votes)


def test_of_very_many_labels_the_best_are_scored_and_those_with_votes() -> None:
    labels = tuple(f"{number:05}" for number in range(3000))
    row = np.linspace(-1.0, 1.0, 3000)[np.newaxis]
    head = HeadScores(labels, np.ones(3000), row, 1.0 - row)
    column = np.array([["00000", "99999"]], object)

    (decision,) = Rule(head="means", voting="plurality").decide(
        Neighbors(column, column, np.array([[0.1, 0.2]]), head=head)
    )

    assert len(decision.scores) == SCORED_MAX + 2
    assert {*labels[-SCORED_MAX:], "00000", "99999"} == decision.scores.keys()
    assert decision.scores["00000"] == pytest.approx(0.25)
