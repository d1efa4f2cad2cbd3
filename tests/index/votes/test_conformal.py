"""Label sets cover as many items as promised, whichever items calibrated them."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.errors import BadParameter
from visual_memory_index.votes.conformal import (
    LIMITS,
    SCORES,
    Calibration,
    Limits,
    Score,
    draw_for,
    lac,
    over_all,
    over_each_label,
    own_score,
    prediction_set,
    q_hat,
    randomized_aps,
    shares,
    unvoted_scores,
)

LABELS = ("a", "b", "c", "d", "ä", "😀")
VOTES = st.dictionaries(st.sampled_from(LABELS), st.integers(1, 6).map(float), min_size=1)
HEAD = st.lists(st.integers(1, 9), min_size=len(LABELS), max_size=len(LABELS)).map(
    lambda parts: np.array(parts, np.float64) / sum(parts)
)
HUNDREDTHS = st.integers(1, 99)
DRAWS = st.floats(0, 1, exclude_max=True)


class Item(NamedTuple):
    """A decision: its votes, the head's shares of ``LABELS``, a draw, and the right label."""

    votes: dict[str, float]
    head_shares: np.ndarray
    draw: float
    label: str


ITEMS = st.lists(
    st.builds(Item, VOTES, HEAD, DRAWS, st.sampled_from(LABELS)), min_size=2, max_size=25
)


def winner(votes: dict[str, float]) -> str:
    return max(votes, key=lambda label: votes[label])


def score_of(rule: str, item: Item) -> float:
    """Return the calibration score of an item."""
    head_share = float(item.head_shares[LABELS.index(item.label)])
    return own_score(SCORES[rule](item.votes, item.draw), item.label, head_share)


def calibrated(rule: str, items: list[Item]) -> Calibration:
    found = defaultdict(list)
    for item in items:
        found[item.label].append(score_of(rule, item))
    return all_of({label: np.array(scores) for label, scores in found.items()})


def all_of(of_labels: dict[str, np.ndarray]) -> Calibration:
    """Return a calibration by items each of which is alone in its group."""
    return Calibration(np.concatenate([np.empty(0), *of_labels.values()]), of_labels)


def set_of(rule: str, item: Item, limits: Limits, *, allow_empty: bool = True) -> tuple[str, ...]:
    scores = SCORES[rule](item.votes, item.draw)
    return prediction_set(
        scores,
        limits,
        winner=winner(item.votes),
        unvoted=unvoted_scores(scores, LABELS, item.head_shares),
        allow_empty=allow_empty,
    )


def scores_by_hand(rule: str, item: Item, label: str) -> float:
    """Return a label's score by the formula, over all labels, those without votes too."""
    p = {each: item.votes.get(each, 0) / sum(item.votes.values()) for each in LABELS}
    if not p[label]:
        return 2 - float(item.head_shares[LABELS.index(label)])
    if rule == "lac":
        return 1 - p[label]
    before = sum(
        p[each]
        for each in LABELS
        if p[each] > p[label] or (p[each] == p[label] and each.encode() < label.encode())
    )
    return before + p[label] - item.draw * p[label]


@pytest.mark.parametrize("rule", sorted(SCORES))
@given(votes=VOTES, head_shares=HEAD, draw=DRAWS)
def test_every_label_scores_what_the_formula_says(
    rule: str, votes: dict[str, float], head_shares: np.ndarray, draw: float
) -> None:
    items = [Item(votes, head_shares, draw, label) for label in LABELS]

    found = [score_of(rule, item) for item in items]

    by_hand = [scores_by_hand(rule, item, item.label) for item in items]
    assert found == pytest.approx(by_hand)


@pytest.mark.parametrize("rule", sorted(SCORES))
@given(votes=VOTES, head_shares=HEAD, draw=DRAWS)
def test_labels_without_a_vote_come_after_all_with_one_as_the_head_orders_them(
    rule: str, votes: dict[str, float], head_shares: np.ndarray, draw: float
) -> None:
    scores = SCORES[rule](votes, draw)

    unvoted = unvoted_scores(scores, LABELS, head_shares)

    share = dict(zip(LABELS, head_shares.tolist(), strict=True))
    assert list(unvoted) == sorted(set(LABELS) - set(votes), key=lambda name: (-share[name], name))
    assert max(scores.values()) <= 1 + 1e-12
    assert min(unvoted.values(), default=2.0) >= 1


def test_shares_descend_and_equal_ones_are_in_byte_order() -> None:
    ordered = shares({"z": 1.0, "😀": 2.0, "\uffff": 2.0, "a": 1.0})

    # UTF-8 puts U+FFFF before an emoji, UTF-16 would not.
    assert list(ordered.items()) == [("\uffff", 1 / 3), ("😀", 1 / 3), ("a", 1 / 6), ("z", 1 / 6)]


def covered_without_itself(
    rule: str, items: list[Item], coverage_by: str, coverage: float
) -> list[bool]:
    """Return for each item whether its label is in its set, if the others calibrate."""
    return [
        item.label
        in set_of(
            rule,
            item,
            LIMITS[coverage_by](calibrated(rule, items[:at] + items[at + 1 :]), coverage),
        )
        for at, item in enumerate(items)
    ]


@pytest.mark.parametrize("rule", sorted(SCORES))
@given(items=ITEMS, hundredths=HUNDREDTHS)
def test_whoever_is_left_out_the_others_cover_as_many_as_promised(
    rule: str, items: list[Item], hundredths: int
) -> None:
    """The guarantee: the mean over which of n + 1 exchangeable items is the new one."""
    covered = covered_without_itself(rule, items, "all", hundredths / 100)

    assert Fraction(sum(covered), len(items)) >= Fraction(hundredths, 100)


@pytest.mark.parametrize("rule", sorted(SCORES))
@given(items=ITEMS, hundredths=HUNDREDTHS)
def test_whichever_of_a_label_is_left_out_as_many_of_the_label_are_covered(
    rule: str, items: list[Item], hundredths: int
) -> None:
    covered = covered_without_itself(rule, items, "label", hundredths / 100)

    for label in {item.label for item in items}:
        own = [inside for item, inside in zip(items, covered, strict=True) if item.label == label]
        promised = min(Fraction(hundredths, 100), Fraction(len(own) - 1, len(own)))
        assert Fraction(sum(own), len(own)) >= promised


@pytest.mark.parametrize("coverage_by", sorted(LIMITS))
def test_new_items_of_the_same_kind_are_covered(coverage_by: str) -> None:
    """A simulation: an easy frequent label, and a hard rare one that others outvote."""
    rng = np.random.default_rng(3)

    def draw_items(count: int) -> list[Item]:
        found = []
        for _ in range(count):
            label = "a" if rng.random() < 0.85 else "b"
            lead = rng.beta(8, 2) if label == "a" else rng.beta(2, 8)
            votes = {label: lead, "c": 1 - lead} if rng.random() < 0.9 else {"c": 1.0}
            found.append(Item(votes, rng.dirichlet(np.ones(len(LABELS))), 0.0, label))
        return found

    covered: dict[str, list[bool]] = {"a": [], "b": []}
    for _ in range(60):
        limits = LIMITS[coverage_by](calibrated("lac", draw_items(120)), 0.8)
        for item in draw_items(120):
            covered[item.label].append(item.label in set_of("lac", item, limits))

    of_all = np.mean(covered["a"] + covered["b"])
    assert of_all >= 0.79
    if coverage_by == "all":
        assert of_all <= 0.82
        assert np.mean(covered["b"]) < 0.5
    else:
        assert 0.79 <= np.mean(covered["a"]) <= 0.83
        assert 0.79 <= np.mean(covered["b"]) <= 0.87


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True), HUNDREDTHS)
def test_q_hat_is_the_least_score_that_enough_are_not_above(
    scores: list[float], hundredths: int
) -> None:
    found = q_hat(np.array(scores), hundredths / 100)

    needed = Fraction(hundredths, 100) * (len(scores) + 1)
    enough = [score for score in scores if sum(each <= score for each in scores) >= needed]
    assert found == min(enough, default=math.inf)


@given(HUNDREDTHS)
def test_from_as_many_items_as_are_needed_q_hat_is_finite(hundredths: int) -> None:
    needed = -(-hundredths // (100 - hundredths))

    assert q_hat(np.full(needed, 0.5), hundredths / 100) == 0.5
    assert q_hat(np.full(needed - 1, 0.5), hundredths / 100) == math.inf


@pytest.mark.parametrize("coverage_by", sorted(LIMITS))
@pytest.mark.parametrize("coverage", [0.0, 1.0])
def test_a_coverage_that_cannot_be_promised_is_refused(coverage_by: str, coverage: float) -> None:
    with pytest.raises(BadParameter):
        LIMITS[coverage_by](all_of({"a": np.array([0.5])}), coverage)


@pytest.mark.parametrize("coverage_by", sorted(LIMITS))
@pytest.mark.parametrize("rule", sorted(SCORES))
@given(items=ITEMS, votes=VOTES, head_shares=HEAD, draw=DRAWS)
def test_more_coverage_never_takes_a_label_away(
    rule: str,
    coverage_by: str,
    items: list[Item],
    votes: dict[str, float],
    head_shares: np.ndarray,
    draw: float,
) -> None:
    calibration = calibrated(rule, items)
    item = Item(votes, head_shares, draw, "a")
    sets = [
        set_of(rule, item, LIMITS[coverage_by](calibration, coverage), allow_empty=False)
        for coverage in (0.05, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.999)
    ]

    assert all(set(small) <= set(large) for small, large in pairwise(sets))
    assert all(winner(votes) in each for each in sets)
    assert sorted(over_all(calibration, 0.999).own) == []
    if coverage_by == "all":
        assert sorted(sets[-1]) == sorted(LABELS)


def test_a_label_of_too_few_items_has_their_highest_score_or_the_limit_of_all() -> None:
    calibration = all_of(
        {
            "many": np.linspace(0.1, 1.0, 10),
            "few and low": np.array([0.2, 0.3]),
            "few and high": np.array([0.2, 1.7]),
        }
    )

    limits = over_each_label(calibration, 0.8)

    assert limits.others == over_all(calibration, 0.8).others == pytest.approx(0.9)
    assert limits.own == pytest.approx({"many": 0.9, "few and low": 0.9, "few and high": 1.7})
    assert limits.of("new") == limits.of("few and low")


def test_beyond_the_last_score_the_set_is_all_labels_those_with_votes_first() -> None:
    scores = lac({"dog": 1.0, "cat": 2.0}, 0)
    unvoted = unvoted_scores(scores, ["bee", "cat", "dog", "owl"], np.array([0.1, 0.3, 0.2, 0.4]))

    everything = prediction_set(scores, Limits({}, math.inf), winner="cat", unvoted=unvoted)

    assert everything == ("cat", "dog", "owl", "bee")


def test_beyond_the_votes_a_set_grows_by_one_label_at_a_time() -> None:
    scores = lac({"cat": 3.0, "dog": 1.0}, 0)
    unvoted = unvoted_scores(scores, ["bee", "cat", "fly", "owl"], np.array([0.1, 0.6, 0.1, 0.2]))

    sizes = [
        len(prediction_set(scores, Limits({}, limit), winner="cat", unvoted=unvoted))
        for limit in (0.5, 0.99, 1.79, 1.8, 1.89, 1.9)
    ]

    assert sizes == [1, 2, 2, 3, 3, 5]  # bee and fly are alike


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits({}, 0.99), False),
        (Limits({}, 1.0), True),
        (Limits({"cat": 0.9, "owl": 1.2}, 0.5), True),
        (Limits({"cat": 0.9, "owl": 0.9}, 0.5), False),
        (Limits({"cat": 0.9}, math.inf), True),
    ],
)
def test_labels_without_a_vote_are_reached_if_a_limit_is_1(limits: Limits, reached: bool) -> None:
    assert limits.reach_unvoted is reached


@pytest.mark.parametrize("score", SCORES.values())
def test_a_share_too_small_to_tell_scores_apart_is_as_good_as_no_vote(score: Score) -> None:
    votes = {"cat": 1.0, "dog": 1e-11, "owl": 1e-13, "emu": 0.0}

    assert set(score(votes, 0.5)) == {"cat", "dog"}


@pytest.mark.parametrize(("allow_empty", "expected"), [(True, ()), (False, ("cat",))])
def test_the_winner_is_added_to_an_empty_set_unless_that_is_allowed(
    allow_empty: bool, expected: tuple[str, ...]
) -> None:
    scores = lac({"cat": 3.0, "dog": 2.0}, 0)

    found = prediction_set(
        scores, Limits({}, 0.1), winner="cat", unvoted={}, allow_empty=allow_empty
    )

    assert found == expected


def test_a_winner_that_an_equal_label_precedes_is_added_too() -> None:
    scores = randomized_aps({"dog": 2.0, "cat": 2.0, "owl": 1.0}, 0)

    sets = [
        prediction_set(scores, Limits({}, 0.5), winner="dog", unvoted={}, allow_empty=empty)
        for empty in (True, False)
    ]

    assert sets == [("cat",), ("cat", "dog")]


def test_a_score_that_is_equal_but_for_rounding_is_inside() -> None:
    at_once = randomized_aps({"a": 1.0}, 0)["a"]
    in_three_steps = randomized_aps({"a": 0.7, "b": 0.2, "c": 0.1}, 0)["c"]
    assert at_once > in_three_steps

    found = prediction_set({"a": at_once}, Limits({}, in_three_steps), winner="?", unvoted={})

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


def test_a_label_that_no_decision_knew_has_the_limit_of_all() -> None:
    known = np.linspace(0.1, 0.5, 20)

    limits = over_each_label(all_of({"often": known, "once": np.array([2.0])}), 0.8)

    assert limits.of("once") == limits.of("new") == pytest.approx(known[17], abs=1e-8)
