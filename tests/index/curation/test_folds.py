"""A memory's entries are parted in folds that no group crosses, and some are drawn."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.index.curation.crowds import objects

from visual_memory_index.curation import folds
from visual_memory_index.curation.folds import FOLDS, Sample


@st.composite
def entries(draw: st.DrawFn) -> tuple[list[str], list[str], dict[str, str]]:
    """Draw ids, labels, and the group of some ids."""
    count = draw(st.integers(1, 40))
    ids = [f"{number:02}" for number in draw(st.permutations(range(count)))]
    labels = draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    grouped = draw(st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=count, max_size=count))
    return ids, labels, {id: group for id, group in zip(ids, grouped, strict=True) if group}


def drawn(
    ids: list[str], labels: list[str], group_of: dict[str, str], tested_max: int = 1000
) -> Sample:
    return folds.sample(objects(ids), objects(labels), group_of, tested_max)


@given(entries(), st.integers(4, 50))
def test_a_group_is_in_one_fold_and_a_label_is_tested_where_it_is_in_two_folds(
    memory: tuple[list[str], list[str], dict[str, str]], tested_max: int
) -> None:
    ids, labels, group_of = memory

    found = drawn(ids, labels, group_of, tested_max)

    groups = [group_of.get(id, f"alone {id}") for id in ids]
    of_group, of_label = defaultdict[str, set[int]](set), defaultdict[str, set[int]](set)
    for group, fold, label in zip(groups, found.folds.tolist(), labels, strict=True):
        of_group[group].add(fold)
        of_label[label].add(fold)
    assert all(len(each) == 1 for each in of_group.values())
    assert set(found.folds.tolist()) <= set(range(FOLDS))
    testable = {label for label, its in of_label.items() if len(its) > 1}
    tested = [labels[row] for row in found.rows.tolist()]
    assert set(tested) <= testable
    assert len(set(tested)) == min(len(testable), tested_max // 2)
    assert len(found.rows) <= tested_max
    assert [ids[row] for row in found.rows] == sorted(ids[row] for row in found.rows)
    names = sorted(set(tested))
    assert [names[code] for code in found.labels.tolist()] == tested
    assert found.sizes.tolist() == [labels.count(name) for name in names]
    numbers, named = found.groups.tolist(), [groups[row] for row in found.rows]
    pairs = set(zip(numbers, named, strict=True))
    assert len(pairs) == len(set(numbers)) == len(set(named))


@given(entries(), st.randoms())
def test_the_sample_is_that_of_the_set_of_entries_in_whatever_order(
    memory: tuple[list[str], list[str], dict[str, str]], random: Random
) -> None:
    ids, labels, group_of = memory
    order = list(range(len(ids)))
    random.shuffle(order)

    found = drawn(ids, labels, group_of, 10)
    other = drawn([ids[at] for at in order], [labels[at] for at in order], group_of, 10)

    fold_of = dict(zip(ids, found.folds.tolist(), strict=True))
    assert {ids[at]: fold for at, fold in zip(order, other.folds.tolist(), strict=True)} == fold_of
    assert [ids[row] for row in found.rows] == [ids[order[row]] for row in other.rows]


def test_each_fold_has_its_part_of_each_label() -> None:
    labels = ["rare"] * 7 + ["often"] * 103

    found = drawn([f"{number:03}" for number in range(110)], labels, {})

    of_fold = Counter(zip(labels, found.folds.tolist(), strict=True))
    assert sorted(of_fold["rare", fold] for fold in range(FOLDS)) == [1, 1, 1, 2, 2]
    assert sorted(of_fold["often", fold] for fold in range(FOLDS)) == [20, 20, 21, 21, 21]
    assert sorted(Counter(found.folds.tolist()).values()) == [22] * FOLDS


def test_large_groups_leave_the_folds_of_one_size() -> None:
    ids = [f"{number:03}" for number in range(200)]
    scenes = {id: f"scene {max(3, number // 10)}" for number, id in enumerate(ids)}

    found = drawn(ids, ["cat"] * 200, scenes)

    assert sorted(Counter(found.folds.tolist()).values()) == [40] * FOLDS


def test_neither_folds_nor_tested_labels_follow_the_order_of_names() -> None:
    ids = [f"{number:03}" for number in range(200)]

    dealt = drawn(ids, ["cat"] * 200, {}).folds.tolist()
    tested = drawn(ids, [f"label {number // 2:02}" for number in range(200)], {}, 20).rows

    every_fifth = [{dealt[at] for at in range(first, 200, FOLDS)} for first in range(FOLDS)]
    assert every_fifth == [set(range(FOLDS))] * FOLDS
    assert len(tested) == 20
    assert max(tested.tolist()) > 100


def test_of_frequent_labels_fewer_are_tested_and_of_rare_ones_all() -> None:
    labels = ["rare"] * 7 + ["often"] * 1000 + ["more"] * 2000

    found = drawn([f"{number:04}" for number in range(3007)], labels, {}, 107)

    assert Counter(labels[row] for row in found.rows) == {"rare": 7, "often": 50, "more": 50}
    assert found.sizes.tolist() == [2000, 1000, 7]


def test_of_each_group_about_as_many_are_tested() -> None:
    labels = ["cat"] * 2000 + ["dog"] * 2000
    ids = [f"{number:04}" for number in range(4000)]
    scenes = {id: f"scene {number // 500}" for number, id in enumerate(ids)}

    found = drawn(ids, labels, scenes, 1000)

    tested = Counter(scenes[ids[row]] for row in found.rows)
    assert tested == {f"scene {number}": 125 for number in range(8)}


def dealt_by_loop(
    ids: list[str], labels: list[str], group_of: dict[str, str]
) -> dict[tuple[bool, str], int]:
    """Return the fold of each group: the larger first, of these by hash, to the least alike."""
    members = defaultdict[tuple[bool, str], Counter[str]](Counter)
    for id, label in zip(ids, labels, strict=True):
        members[(id not in group_of, group_of.get(id, id))][label] += 1

    def place(name: tuple[bool, str]) -> tuple[int, bytes]:
        own, text = name
        return -members[name].total(), hashlib.sha256(f"{own} {text}".encode()).digest()

    loads, fold_of = [Counter[str]() for _ in range(FOLDS)], {}
    for name in sorted(members, key=place):
        alike = [sum(load[each] * count for each, count in members[name].items()) for load in loads]
        fold = min(range(FOLDS), key=lambda at: (alike[at], loads[at].total()))
        fold_of[name] = fold
        loads[fold].update(members[name])
    return fold_of


@given(entries())
def test_folds_are_dealt_as_a_plain_loop_deals_them(
    memory: tuple[list[str], list[str], dict[str, str]],
) -> None:
    ids, labels, group_of = memory

    found = drawn(ids, labels, group_of)

    fold_of = dealt_by_loop(ids, labels, group_of)
    expected = [fold_of[id not in group_of, group_of.get(id, id)] for id in ids]
    assert found.folds.tolist() == expected


class Stopped(Exception):
    """Raised by a check."""


@pytest.mark.parametrize("together", [1, 2])
def test_the_parting_can_be_stopped_at_many_points(together: int) -> None:
    ids = [f"{number:05}" for number in range(20_000)]
    labels = [f"{number % 7}" for number in range(len(ids))]
    group_of = {id: f"{at // together}" for at, id in enumerate(ids)} if together > 1 else {}
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise Stopped

    stop_at = 0
    folds.sample(objects(ids), objects(labels), group_of, check=check)
    in_all, calls, stop_at = calls, 0, calls

    assert in_all >= 2 * len(ids) / together / 5000
    with pytest.raises(Stopped):
        folds.sample(objects(ids), objects(labels), group_of, check=check)


@given(entries(), st.randoms())
def test_one_of_each_group_is_drawn_in_whatever_order_they_come(
    memory: tuple[list[str], list[str], dict[str, str]], random: Random
) -> None:
    ids, _, group_of = memory
    groups = np.array([ord(group_of.get(id, "a")) for id in ids])
    order = list(range(len(ids)))
    random.shuffle(order)

    drawn = folds.one_of_each(ids, groups, lambda: None)
    again = folds.one_of_each([ids[at] for at in order], groups[order], lambda: None)

    assert sorted(groups[drawn].tolist()) == sorted(set(groups.tolist()))
    assert drawn[order].tolist() == again.tolist()


def test_each_of_a_group_is_drawn_about_as_often() -> None:
    ids = [f"{number:05}" for number in range(5000)]
    places = np.arange(len(ids)) % 5

    drawn = folds.one_of_each(ids, np.arange(len(ids)) // 5, lambda: None)

    counts = np.bincount(places[drawn])
    assert counts.sum() == 1000
    assert np.abs(counts - 200).max() < 4 * math.sqrt(1000 * 0.2 * 0.8)
