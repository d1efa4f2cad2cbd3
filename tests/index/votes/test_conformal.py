"""Label sets cover as many items as promised, whichever items calibrated them."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from visual_memory_index.errors import BadCoverage
from visual_memory_index.votes.conformal import (
    SCORES,
    UNVOTED,
    aps,
    calibration_scores,
    draw_for,
    lac,
    prediction_set,
    q_hat,
    randomized_aps,
    shares,
)

LABELS = ("a", "b", "c", "d", "ä", "😀")
VOTES = st.dictionaries(st.sampled_from(LABELS), st.integers(1, 6).map(float), min_size=1)
ITEMS = st.lists(st.tuples(VOTES, st.sampled_from(LABELS)), min_size=2, max_size=25)
HUNDREDTHS = st.integers(1, 99)


def winner(votes: dict[str, float]) -> str:
    return max(votes, key=lambda label: votes[label])


def scores_by_hand(rule: str, votes: dict[str, float], draw: float, label: str) -> float:
    """Return a label's score by the formula, over all labels, those without votes too."""
    p = {each: votes.get(each, 0) / sum(votes.values()) for each in LABELS}
    if rule == "lac":
        return 1 - p[label]
    before = sum(
        p[each]
        for each in LABELS
        if p[each] > p[label] or (p[each] == p[label] and each.encode() < label.encode())
    )
    return before + p[label] - (draw * p[label] if rule == "randomized_aps" else 0)


@pytest.mark.parametrize("rule", sorted(SCORES))
@given(votes=VOTES, draw=st.floats(0, 1, exclude_max=True))
def test_every_label_scores_what_the_formula_says(
    rule: str, votes: dict[str, float], draw: float
) -> None:
    scores = SCORES[rule](votes, draw)

    by_hand = {label: scores_by_hand(rule, votes, draw, label) for label in LABELS}
    assert {label: scores.get(label, UNVOTED) for label in LABELS} == pytest.approx(by_hand)


def test_shares_descend_and_equal_ones_are_in_byte_order() -> None:
    ordered = shares({"z": 1.0, "😀": 2.0, "\uffff": 2.0, "a": 1.0})

    # UTF-8 puts U+FFFF before an emoji, UTF-16 would not.
    assert list(ordered.items()) == [("\uffff", 1 / 3), ("😀", 1 / 3), ("a", 1 / 6), ("z", 1 / 6)]


@pytest.mark.parametrize("rule", sorted(SCORES))
@given(items=ITEMS, hundredths=HUNDREDTHS, seed=st.integers(0, 1000))
def test_whoever_is_left_out_the_others_cover_as_many_as_promised(
    rule: str, items: list[tuple[dict[str, float], str]], hundredths: int, seed: int
) -> None:
    """The guarantee: the mean over which of n + 1 exchangeable items is the new one."""
    draws = np.random.default_rng(seed).random(len(items)).tolist()
    scored = [SCORES[rule](votes, draw) for (votes, _), draw in zip(items, draws, strict=True)]
    labels = [label for _, label in items]
    covered = 0
    for left_out, (votes, label) in enumerate(items):
        rest = [number for number in range(len(items)) if number != left_out]
        others = calibration_scores((scored[i] for i in rest), (labels[i] for i in rest))
        covered += label in prediction_set(
            scored[left_out],
            q_hat(others, hundredths / 100),
            winner=winner(votes),
            labels=LABELS,
            allow_empty=True,
        )

    assert Fraction(covered, len(items)) >= Fraction(hundredths, 100)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True), HUNDREDTHS)
def test_q_hat_is_the_least_score_that_enough_are_not_above(
    scores: list[float], hundredths: int
) -> None:
    found = q_hat(sorted(scores), hundredths / 100)

    needed = Fraction(hundredths, 100) * (len(scores) + 1)
    enough = [score for score in scores if sum(each <= score for each in scores) >= needed]
    assert found == min(enough, default=math.inf)


@given(HUNDREDTHS)
def test_from_as_many_items_as_are_needed_q_hat_is_finite(hundredths: int) -> None:
    needed = -(-hundredths // (100 - hundredths))

    assert q_hat([0.5] * needed, hundredths / 100) == 0.5
    assert q_hat([0.5] * (needed - 1), hundredths / 100) == math.inf


@pytest.mark.parametrize("coverage", [0.0, 1.0])
def test_a_coverage_that_cannot_be_promised_is_refused(coverage: float) -> None:
    with pytest.raises(BadCoverage):
        q_hat([0.5], coverage)


@pytest.mark.parametrize("rule", sorted(SCORES))
@given(items=ITEMS, votes=VOTES, draw=st.floats(0, 1, exclude_max=True))
def test_more_coverage_never_takes_a_label_away(
    rule: str, items: list[tuple[dict[str, float], str]], votes: dict[str, float], draw: float
) -> None:
    calibration = calibration_scores(
        (SCORES[rule](each, draw) for each, _ in items), (label for _, label in items)
    )
    sets = [
        prediction_set(
            SCORES[rule](votes, draw),
            q_hat(calibration, coverage),
            winner=winner(votes),
            labels=LABELS,
        )
        for coverage in (0.05, 0.5, 0.8, 0.9, 0.999)
    ]

    assert all(set(small) <= set(large) for small, large in pairwise(sets))
    assert all(winner(votes) in each for each in sets)
    assert sorted(sets[-1]) == sorted(LABELS)


def test_beyond_the_last_score_the_set_is_all_labels_those_with_votes_first() -> None:
    votes = {"dog": 1.0, "cat": 2.0}

    everything = prediction_set(
        lac(votes, 0), math.inf, winner="cat", labels=["owl", "dog", "cat", "bee"]
    )

    assert everything == ("cat", "dog", "bee", "owl")


def test_a_label_without_a_vote_is_in_the_set_from_q_hat_1_on() -> None:
    scores = lac({"cat": 3.0, "dog": 1.0}, 0)

    sets = [
        prediction_set(scores, q, winner="cat", labels=["cat", "dog", "owl"]) for q in (0.99, 1.0)
    ]

    assert sets == [("cat", "dog"), ("cat", "dog", "owl")]


@pytest.mark.parametrize(("allow_empty", "expected"), [(True, ()), (False, ("cat",))])
def test_the_winner_is_added_to_an_empty_set_unless_that_is_allowed(
    allow_empty: bool, expected: tuple[str, ...]
) -> None:
    scores = lac({"cat": 3.0, "dog": 2.0}, 0)

    found = prediction_set(
        scores, 0.1, winner="cat", labels=["cat", "dog"], allow_empty=allow_empty
    )

    assert found == expected


def test_a_winner_that_an_equal_label_precedes_is_added_too() -> None:
    scores = aps({"dog": 2.0, "cat": 2.0, "owl": 1.0}, 0)

    sets = [
        prediction_set(scores, 0.5, winner="dog", labels=["cat", "dog", "owl"], allow_empty=empty)
        for empty in (True, False)
    ]

    assert sets == [("cat",), ("cat", "dog")]


def test_a_score_that_is_equal_but_for_rounding_is_inside() -> None:
    at_once, in_three_steps = aps({"a": 1.0}, 0)["a"], aps({"a": 0.7, "b": 0.2, "c": 0.1}, 0)["c"]
    assert at_once > in_three_steps

    found = prediction_set({"a": at_once}, in_three_steps, winner="?", labels=["a"])

    assert found == ("a",)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=9))
def test_a_draw_is_the_same_for_the_same_bits_however_they_lie(values: list[float]) -> None:
    vector = np.array(values, np.float32)

    drawn = draw_for(vector)

    assert 0 <= drawn < 1
    assert drawn == draw_for(np.repeat(vector, 2)[::2]) == draw_for(vector.astype(">f4"))


def test_draws_are_spread_evenly() -> None:
    draws = [draw_for(np.array([number], np.float32)) for number in range(2000)]

    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert counts.min() > 150
    assert counts.max() < 250


@given(VOTES)
def test_randomized_aps_without_a_draw_is_aps(votes: dict[str, float]) -> None:
    assume(len(votes) > 1)

    assert randomized_aps(votes, 0.0) == aps(votes, 0.7) != randomized_aps(votes, 0.7)
