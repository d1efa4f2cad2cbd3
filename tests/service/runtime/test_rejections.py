"""The window of rejections of the last queries, beside a plain list."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.votes.drift import WINDOW
from visual_memory_service.runtime.rejections import Rejections

BATCH = st.tuples(st.integers(0, 2), st.lists(st.booleans(), max_size=2 * WINDOW))


@given(st.lists(BATCH, max_size=12))
def test_it_holds_the_last_queries_of_the_last_calibration(
    batches: list[tuple[int, list[bool]]],
) -> None:
    window, held, last = Rejections(), list[bool](), -1
    for calibration, rejected in batches:
        window.add(calibration, rejected)
        if calibration > last:
            held, last = [], calibration
        if calibration == last:  # not a late answer by an earlier one
            held = [*held, *rejected][-WINDOW:]

        assert window.counts(last) == (len(held), sum(held))
        assert window.counts(last + 1) == window.counts(last - 1) == (0, 0)


def test_no_query_of_several_threads_is_lost() -> None:
    window = Rejections()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda at: window.add(1, [at % 2 == 0]), range(WINDOW)))

    assert window.counts(1) == (WINDOW, WINDOW // 2)
