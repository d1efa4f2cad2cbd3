"""Rules are chosen as a plain loop would choose."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import Rule
from visual_memory_index.curation import tuning
from visual_memory_index.curation.folds import Sample
from visual_memory_index.curation.tuning import MEASURES, Outcomes

RULES = [Rule(k=k) for k in range(1, 5)]


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


def test_of_rules_that_are_equal_but_for_rounding_the_first_is_the_best() -> None:
    """Two are right about .55 of all entries, which sum to .5499999999999999 for the first."""
    labels = np.repeat(np.arange(3), [5, 4, 2])
    groups = np.array([12, 13, 0, 0, 0, 12, 13, 0, 0, 12, 13])
    rows = np.arange(11)
    right = [[], [1, 10], [2, 3, 4, 8, 9, 10], [2, 3, 4, 6, 7, 8]]
    outcomes = {
        rule: Outcomes(np.isin(rows, those).astype(np.float64), np.zeros(11))
        for rule, those in zip(RULES, right, strict=True)
    }
    sample = Sample(np.zeros(11, np.intp), rows, labels, groups, np.array([6, 4, 2], np.intp))

    chosen, found = tuning.choose(sample, outcomes, "accuracy")

    assert chosen == 1
    assert (found[2].behind.mean, found[2].behind.error) == (0.0, 0.0)


def test_a_rule_that_rounding_alone_tells_from_the_best_is_0_behind_it() -> None:
    """One is right about two thirds of .6 of all, one about a third of them and half of .4."""
    rows, labels = np.arange(5), np.array([0, 0, 0, 1, 1])
    sample = Sample(np.zeros(5, np.intp), rows, labels, rows, np.array([6, 4], np.intp))
    outcomes = {
        rule: Outcomes(np.isin(rows, right).astype(np.float64), np.zeros(5))
        for rule, right in zip(RULES, ([1, 2], [0, 4]), strict=False)
    }

    _, found = tuning.choose(sample, outcomes, "accuracy")

    assert [each.behind.mean for each in found] == [0.0, 0.0]


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
        mean = behind[each.rule][0]
        assert each.behind.mean == (pytest.approx(mean, abs=1e-12) if mean > 1e-12 else 0.0)
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
