"""Counters and histograms lose nothing, whoever shares them."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.records.measures import MEASURES, POWERS, SECONDS, Counter, Histogram


def test_threads_that_share_them_lose_nothing() -> None:
    counter, histogram = Counter("c_total", "", ("who",)), Histogram("h", "", (1.0, 2.0))

    def work(who: str) -> None:
        for number in range(5000):
            counter.add(1, who)
            histogram.add(number % 4)

    threads = [threading.Thread(target=work, args=(f"{at % 2}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counter.read() == {("0",): 10_000, ("1",): 10_000}
    assert histogram.read() == {(): ((10_000, 5000, 5000), 4 * 5000 * 1.5)}


@given(st.lists(st.floats(0, 1000)))
def test_each_value_is_counted_in_the_first_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram("h", "", SECONDS)
    for value in values:
        histogram.add(value)

    sample = histogram.read()[()]

    bounds = (*SECONDS, math.inf)
    below = (-math.inf, *SECONDS)
    assert sample.counts == tuple(
        sum(low < value <= high for value in values)
        for low, high in zip(below, bounds, strict=True)
    )
    assert sample.sum == pytest.approx(sum(values))


def test_what_has_no_labels_is_there_from_the_beginning() -> None:
    assert Counter("c_total", "").read() == {(): 0.0}
    assert Histogram("h", "", (1.0,)).read() == {(): ((0, 0), 0.0)}
    assert Counter("c_total", "", ("who",)).read() == {}
    assert Histogram("h", "", (1.0,), ("who",)).read() == {}


def test_a_block_is_timed_also_if_it_fails() -> None:
    histogram = Histogram("h", "", (60.0,), ("who",))

    with pytest.raises(ValueError, match="wrong"), histogram.timed("me"):
        raise ValueError("wrong")

    assert histogram.read()[("me",)].counts == (1, 0)


def test_bounds_ascend() -> None:
    for bounds in (SECONDS, POWERS):
        assert sorted(set(bounds)) == list(bounds)


def test_names_are_those_of_the_project_and_say_their_unit() -> None:
    for measure in MEASURES:
        assert measure.name.startswith("visual_memory_")
        assert measure.help.endswith(".")
        if isinstance(measure, Counter):
            assert measure.name.endswith("_total")
