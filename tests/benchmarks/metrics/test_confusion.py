from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.made import to_trials

from visual_memory_benchmarks.metrics.confusion import confusion, response_entropy
from visual_memory_benchmarks.trials.datasets import CATEGORIES
from visual_memory_benchmarks.trials.panel import panels


def test_answers_are_counted_by_what_was_shown() -> None:
    answers = {"a": ["cat", "cat", "na"], "b": ["dog", "dog", "dog"]}
    [panel] = panels(to_trials(answers, ["cat", "dog", "dog"]))
    cat, dog = panel.categories.index("cat"), panel.categories.index("dog")

    found = confusion(panel)

    assert found.shape == (2, 16, 17)
    assert (found[0, cat, cat], found[0, dog, cat], found[0, dog, -1]) == (1, 1, 1)
    assert (found[1, cat, dog], found[1, dog, dog]) == (1, 2)
    assert found.sum(axis=(1, 2)).tolist() == [3, 3]


def entropy(answers: list[str]) -> float:
    [panel] = panels(to_trials({"a": answers}, ["cat"] * len(answers)))
    return float(response_entropy(confusion(panel))[0])


def test_answers_spread_over_all_categories_have_four_bits() -> None:
    assert entropy(list(CATEGORIES)) == 4


def test_one_answer_for_everything_has_none() -> None:
    assert entropy(["cat"] * 5) == 0


def test_no_answer_is_no_category_but_a_trial() -> None:
    assert entropy(["cat", "na"]) == 0.5


def test_a_person_without_any_answer_has_none() -> None:
    assert entropy(["na", "na"]) == 0


def test_each_decision_maker_has_an_entropy_of_its_own() -> None:
    [panel] = panels(to_trials({"a": ["cat", "dog"], "b": ["cat", "cat"]}, ["cat", "dog"]))

    assert response_entropy(confusion(panel)).tolist() == [1, 0]


@given(st.lists(st.sampled_from([*CATEGORIES, "na"]), min_size=1, max_size=50))
def test_it_is_the_sum_over_the_shares_of_the_categories(answers: list[str]) -> None:
    counts = Counter(answers)
    shares = [counts[name] / len(answers) for name in CATEGORIES if counts[name]]

    wanted = -sum(share * math.log2(share) for share in shares)

    assert entropy(answers) == pytest.approx(wanted, abs=1e-12)
