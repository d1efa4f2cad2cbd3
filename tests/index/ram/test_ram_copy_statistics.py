"""The statistics of a copy in RAM are those of its rows, however it came to them."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.index.ram.changes import change

from visual_memory_index import RamCopy, unit_rows
from visual_memory_index.heads.statistics import Statistics
from visual_memory_index.records.entry import VotingEntries
from visual_memory_index.scan.indexes import ScannedIndexes

POOL = unit_rows(np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
INDEXES = ScannedIndexes()


def state(statistics: Statistics | None) -> object:
    assert statistics is not None
    assert statistics.moment is not None
    sums = {label: row.tolist() for label, row in statistics.sums.items()}
    return statistics.counts, sums, statistics.moment.tolist()


def of_rows(ram: RamCopy, count: int) -> Statistics:
    statistics = Statistics(3, moment=True)
    _, labels = ram.columns()
    statistics.add(labels[:count], ram.vectors.gather(np.arange(count)))
    return statistics


@pytest.mark.parametrize("at_once", [1, 3, 1000])
@given(data=st.data())
def test_whatever_is_done_they_are_those_of_the_rows_counted(
    at_once: int, data: st.DataObject
) -> None:
    with (
        patch("visual_memory_index.heads.statistics.COUNTED_PRODUCTS", at_once * 9),
        patch("visual_memory_index.ram.counted_rows.UNCOUNTED_PARTS", 2),
    ):
        check_edits(data)


def check_edits(data: st.DataObject) -> None:
    ram, next_key = RamCopy(3, INDEXES), 0
    for _ in range(data.draw(st.integers(1, 25))):
        ids = ram.columns()[0].tolist()
        some = st.lists(st.sampled_from(ids or [""]), min_size=1, max_size=9, unique=True)
        step = data.draw(
            st.sampled_from(
                ["add", "add", "replace", "remove", "prune", "relabel", "keep", "count", "count"]
            )
        )
        if step in ("add", "replace"):
            gone = data.draw(some) if ids and step == "replace" else []
            count = data.draw(st.integers(0, 9))
            new = [*gone, *(f"{next_key + number}" for number in range(count))]
            keys = np.arange(next_key, next_key + len(new))
            labels = [data.draw(st.sampled_from("abc")) for _ in new]
            rows = POOL[keys % 64]
            change(ram, removed=gone, added=VotingEntries(keys, new, labels, rows))
            next_key += len(new) + 9
        elif step == "keep":
            ram.counted.keep(moment=data.draw(st.booleans()))
        elif step == "count":
            ram.counted.go_on(data.draw(st.none() | st.integers(0, 9)))
        elif ids:
            chosen = data.draw(some)
            if step == "remove":
                change(ram, removed=chosen)
            elif step == "prune":
                change(ram, pruned=chosen)
            else:
                change(ram, relabelled={chosen[0]: data.draw(st.sampled_from("abc"))})
        assert ram.counted.count <= len(ram)

    ram.counted.keep(moment=True)

    assert state(ram.counted.statistics) == state(of_rows(ram, ram.counted.count))
    while not ram.counted.go_on(4):
        pass
    assert ram.counted.has(moment=True)
    assert state(ram.counted.statistics) == state(of_rows(ram, len(ram)))


def test_without_a_moment_it_is_begun_anew_once_one_is_wanted() -> None:
    ram = RamCopy(3, INDEXES)
    ram.add(np.array([0]), ["a"], ["x"], POOL[:1])
    ram.counted.keep(moment=False)
    assert ram.counted.go_on(9)
    assert ram.counted.has(moment=False)
    assert not ram.counted.has(moment=True)

    ram.counted.keep(moment=True)

    assert not ram.counted.has(moment=False)
    assert ram.counted.go_on(9)
    ram.counted.keep(moment=False)
    assert ram.counted.has(moment=True)


def test_many_entries_are_not_counted_while_readers_wait() -> None:
    ram = RamCopy(3, INDEXES)
    ids = [f"{number}" for number in range(64)]
    with (
        patch("visual_memory_index.heads.statistics.COUNTED_PRODUCTS", 4 * 9),
        patch("visual_memory_index.ram.counted_rows.UNCOUNTED_PARTS", 2),
    ):
        ram.counted.keep(moment=True)
        ram.add(np.arange(64), ids, ["x"] * 64, POOL)
        after_insert = ram.counted.count
        while not ram.counted.go_on():
            pass
        change(ram, removed=ids[:8])
        after_few = ram.counted.statistics
        change(ram, removed=ids[8:17])

    assert after_insert == 4
    assert state(after_few) is not None
    assert (ram.counted.statistics, ram.counted.count) == (None, 0)
