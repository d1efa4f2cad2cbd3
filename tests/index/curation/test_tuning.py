"""Rules are compared by folds that no group crosses, and chosen as a plain loop would choose."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.index.curation.crowds import objects

from visual_memory_index import Rule
from visual_memory_index.curation import tuning
from visual_memory_index.curation.tuning import FOLDS, MEASURES, Outcomes, Sample

RULES = [Rule(k=k) for k in range(1, 5)]


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
    return tuning.sample(objects(ids), objects(labels), group_of, tested_max)


@given(entries(), st.integers(4, 50))
def test_a_group_is_in_one_fold_and_a_label_is_tested_where_it_is_in_two_folds(
    memory: tuple[list[str], list[str], dict[str, str]], tested_max: int
) -> None:
    ids, labels, group_of = memory

    found = drawn(ids, labels, group_of, tested_max)

    groups = [group_of.get(id, f"alone {id}") for id in ids]
    folds, of_label = defaultdict[str, set[int]](set), defaultdict[str, set[int]](set)
    for group, fold, label in zip(groups, found.folds.tolist(), labels, strict=True):
        folds[group].add(fold)
        of_label[label].add(fold)
    assert all(len(each) == 1 for each in folds.values())
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

    folds = dict(zip(ids, found.folds.tolist(), strict=True))
    assert {ids[at]: fold for at, fold in zip(order, other.folds.tolist(), strict=True)} == folds
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

    folds = drawn(ids, ["cat"] * 200, {}).folds.tolist()
    tested = drawn(ids, [f"label {number // 2:02}" for number in range(200)], {}, 20).rows

    every_fifth = [{folds[at] for at in range(first, 200, FOLDS)} for first in range(FOLDS)]
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


@st.composite
def measured(draw: st.DrawFn) -> tuple[Sample, dict[Rule, Outcomes]]:
    """Draw a sample of labels with 2 to 5 tested entries, and outcomes of four rules."""
    tested = draw(st.lists(st.integers(2, 5), min_size=2, max_size=4))
    labels = np.repeat(np.arange(len(tested)), tested)
    t = len(labels)
    groups = np.array(draw(st.lists(st.integers(0, t), min_size=t, max_size=t)))
    for first in np.cumsum([0, *tested[:-1]]):  # a label has two groups or more
        groups[first : first + 2] = t + 1, t + 2
    more = draw(st.lists(st.integers(0, 9), min_size=len(tested), max_size=len(tested)))
    sizes = np.array(tested) + more
    outcomes = {}
    for rule in RULES:
        right = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=t, max_size=t))
        losses = draw(st.lists(st.sampled_from([0.0, 0.25, 2.0]), min_size=t, max_size=t))
        outcomes[rule] = Outcomes(np.array(right), np.array(losses))
    rows = np.arange(t)
    return Sample(np.zeros(t, np.intp), rows, labels, groups, sizes.astype(np.intp)), outcomes


def by_loop(sample: Sample, values: list[float], by_label: bool) -> tuple[float, float]:
    """Return a mean over labels or entries, and its standard error."""
    names = sorted(set(sample.labels.tolist()))
    shares = {
        name: 1 / len(names) if by_label else sample.sizes[name] / sample.sizes.sum()
        for name in names
    }
    mean, around = 0.0, defaultdict[int, float](float)
    for name in names:
        rows = [row for row, label in enumerate(sample.labels.tolist()) if label == name]
        own = sum(values[row] for row in rows) / len(rows)
        mean += shares[name] * own
        count = len({int(sample.groups[row]) for row in rows})
        for row in rows:
            scale = math.sqrt(count / (count - 1)) * shares[name] / len(rows)
            around[sample.groups[row]] += scale * (values[row] - own)
    return mean, math.sqrt(sum(each**2 for each in around.values()))


@given(measured(), st.sampled_from(sorted(MEASURES)))
def test_the_first_rule_within_a_standard_error_of_the_best_is_chosen(
    drawn: tuple[Sample, dict[Rule, Outcomes]], measure: str
) -> None:
    sample, outcomes = drawn

    chosen, found = tuning.choose(sample, outcomes, measure)

    assert [each.rule for each in found] == RULES
    loss = measure == "log_loss"
    values = {
        rule: (-each.log_loss if loss else each.right).tolist() for rule, each in outcomes.items()
    }
    by_label = measure == "macro_accuracy"
    means = {rule: by_loop(sample, each, by_label)[0] for rule, each in values.items()}
    best = max(RULES, key=lambda rule: round(means[rule], 12))
    behind = {}
    for rule in RULES:
        lead = [a - b for a, b in zip(values[best], values[rule], strict=True)]
        behind[rule] = by_loop(sample, lead, by_label)
    for each in found:
        others = outcomes[each.rule]
        for name, estimate in (
            ("accuracy", by_loop(sample, others.right.tolist(), False)),
            ("macro_accuracy", by_loop(sample, others.right.tolist(), True)),
            ("log_loss", by_loop(sample, others.log_loss.tolist(), False)),
        ):
            got = getattr(each, name)
            assert (got.mean, got.error) == pytest.approx(estimate, abs=1e-12)
        assert each.behind.mean == pytest.approx(behind[each.rule][0], abs=1e-12)
    near = [rule for rule in RULES if behind[rule][0] < behind[rule][1] - 1e-9]
    far = [rule for rule in RULES if behind[rule][0] > behind[rule][1] + 1e-9]
    assert RULES[chosen] not in far
    assert chosen <= min(map(RULES.index, [*near, best]))


@pytest.mark.parametrize("labels", [2, 4, 10, 16, 20])
@pytest.mark.parametrize("size", range(2, 61))
def test_a_rule_that_is_worse_by_one_entry_is_as_good(labels: int, size: int) -> None:
    t = labels * size
    codes, sizes = np.repeat(np.arange(labels), size), np.full(labels, size)
    sample = Sample(np.zeros(t, np.intp), np.arange(t), codes, np.arange(t), sizes)
    best, worse = np.ones(t), np.ones(t)
    worse[0] = 0.0
    outcomes = {RULES[0]: Outcomes(worse, worse), RULES[1]: Outcomes(best, best)}

    chosen, (behind, _) = tuning.choose(sample, outcomes, "macro_accuracy")

    assert behind.behind.mean == pytest.approx(behind.behind.error)
    assert chosen == 0


@pytest.mark.parametrize("groups", [2, 3, 5, 20])
@pytest.mark.parametrize("together", [1, 4])
def test_a_standard_error_is_that_of_repeated_samples(groups: int, together: int) -> None:
    rng = np.random.default_rng(groups)
    likely = np.repeat([0.9, 0.4, 0.7, 0.5], groups)
    labels = np.repeat(np.arange(4), groups * together)
    of_group = np.repeat(np.arange(4 * groups), together)
    rows, sizes = np.arange(len(labels)), np.full(4, 100)
    sample = Sample(rows, rows, labels, of_group, sizes)
    means, squares = [], []
    for _ in range(3000):
        right = (rng.random(4 * groups) < likely).astype(float)[of_group]
        found = tuning.estimate(right, sample, MEASURES["macro_accuracy"])
        means.append(found.mean)
        squares.append(found.error**2)
    assert math.sqrt(np.mean(squares)) == pytest.approx(np.std(means), rel=0.06)


def test_entries_of_a_group_vary_together() -> None:
    labels, rows = np.repeat([0, 1], 8), np.arange(16)
    right = np.tile([1.0, 1.0, 0.0, 0.0], 4)
    alone = Sample(rows, rows, labels, rows, np.array([8, 8]))
    paired = Sample(rows, rows, labels, rows // 2, np.array([8, 8]))

    errors = [tuning.estimate(right, each, MEASURES["accuracy"]).error for each in (alone, paired)]

    assert errors[1] == pytest.approx(errors[0] * math.sqrt(2 * (4 / 3) / (8 / 7)))
