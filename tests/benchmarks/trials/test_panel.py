from __future__ import annotations

import pytest
from tests.benchmarks.made import joined, to_trials

from visual_memory_benchmarks.errors import UnmatchedImages
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import panels


def test_answers_to_the_same_picture_lie_side_by_side() -> None:
    one = to_trials({"b": ["cat", "na"]}, ["cat", "dog"], names=["1_y.png", "2_x.png"])
    other = to_trials({"a": ["cat", "dog"]}, ["dog", "cat"], names=["1_x.png", "2_y.png"])

    [panel] = panels(joined([one, other]))

    assert panel.makers == ("a", "b")
    assert panel.images.tolist() == ["x.png", "y.png"]
    assert [panel.categories[number] for number in panel.shown] == ["dog", "cat"]
    assert panel.correct.tolist() == [[False, False], [False, True]]
    assert panel.responses[1, 0] == -1


def test_there_is_one_for_each_condition_in_the_order_of_the_dataset() -> None:
    parts = [
        to_trials({"a": ["cat"]}, ["cat"], dataset=DATASETS["colour"], condition=condition)
        for condition in ("bw", "cr")
    ]

    assert [panel.condition for panel in panels(joined(parts))] == ["cr", "bw"]


def test_who_lacks_a_picture_that_others_answered_is_named_with_it() -> None:
    all_of_them = to_trials({"a": ["cat", "dog"]}, ["cat", "dog"])
    some = to_trials({"b": ["cat"]}, ["cat"])

    with pytest.raises(UnmatchedImages) as caught:
        panels(joined([all_of_them, some]))

    assert str(caught.value).startswith(
        "edge, condition all: b has no answer to dog1.png, which others answered; finish the run, "
    )
    assert caught.value.missing == ("dog1.png",)


def test_decision_makers_are_chosen_in_the_order_given() -> None:
    [panel] = panels(to_trials({"a": ["cat"], "b": ["dog"], "c": ["na"]}, ["cat"]))

    some = panel.of(["c", "a"])

    assert some.makers == ("c", "a")
    assert some.correct.tolist() == [[False], [True]]


def test_members_weigh_the_pictures_of_each_category() -> None:
    [panel] = panels(to_trials({"a": ["cat", "dog", "cat"]}, ["cat", "dog", "cat"]))

    members = panel.members()

    assert members[panel.categories.index("cat")].tolist() == [1, 1, 0]
    assert members.sum() == 3
