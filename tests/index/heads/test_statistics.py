"""Statistics are a function of the set of entries: no history leaves a bit behind."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import unit_rows
from visual_memory_index.heads.statistics import SCALE, Statistics, quantized

POOL = unit_rows(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))


def same(one: Statistics, other: Statistics) -> bool:
    assert one.moment is not None
    assert other.moment is not None
    return (
        one.counts == other.counts
        and one.sums.keys() == other.sums.keys()
        and all((one.sums[label] == other.sums[label]).all() for label in one.sums)
        and bool((one.moment == other.moment).all())
    )


@given(st.data())
def test_whatever_was_done_they_equal_those_of_the_entries_left(data: st.DataObject) -> None:
    statistics, labels = Statistics(5, moment=True), dict[int, str]()
    for _ in range(data.draw(st.integers(1, 12))):
        away = sorted(set(range(len(POOL))) - labels.keys())
        if labels and (not away or data.draw(st.booleans())):
            rows = data.draw(st.lists(st.sampled_from(sorted(labels)), min_size=1, unique=True))
            if data.draw(st.booleans()):
                statistics.remove([labels.pop(row) for row in rows], POOL[rows])
            else:
                new = data.draw(st.sampled_from("abc"))
                statistics.relabel(labels[rows[0]], new, POOL[rows[0]])
                labels[rows[0]] = new
        else:
            rows = data.draw(st.lists(st.sampled_from(away), max_size=20, unique=True))
            named = [data.draw(st.sampled_from("abc")) for _ in rows]
            statistics.add(named, POOL[rows])
            labels |= dict(zip(rows, named, strict=True))

    fresh = Statistics(5, moment=True)
    for row in data.draw(st.permutations(sorted(labels))):
        fresh.add([labels[row]], POOL[[row]])

    assert same(statistics, fresh)
    assert same(statistics.copy(), fresh)


def test_a_copy_changes_alone() -> None:
    statistics = Statistics(5, moment=True)
    statistics.add(["a", "b", "a"], POOL[:3])
    before = statistics.copy()

    copy = statistics.copy()
    copy.remove(["a"], POOL[:1])
    copy.relabel("b", "c", POOL[1])

    assert same(statistics, before)
    assert copy.counts == {"a": 1, "c": 1}


def test_many_rows_sum_as_few_do() -> None:
    rows = unit_rows(np.random.default_rng(1).normal(size=(9000, 5)).astype(np.float32))
    labels = [f"{number % 7}" for number in range(len(rows))]
    statistics = Statistics(5, moment=True)
    statistics.add(labels, rows)

    wide = quantized(rows).astype(np.int64)

    assert statistics.moment is not None
    assert (statistics.moment == wide.T @ wide).all()
    for label in "0123456":
        own = np.array([each == label for each in labels])
        assert statistics.counts[label] == own.sum()
        assert (statistics.sums[label] == wide[own].sum(axis=0)).all()
    assert np.abs(quantized(rows) / SCALE - rows).max() <= 0.5 / SCALE
