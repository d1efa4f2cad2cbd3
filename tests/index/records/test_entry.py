"""Generated ids sort by the time at which they were made."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.records.entry import CROCKFORD, IdMaker


def test_an_id_is_a_ulid_in_lower_case_that_begins_with_the_time() -> None:
    id = IdMaker(lambda: 1469918176.385).make()

    assert len(id) == 26
    assert set(id) <= set(CROCKFORD)
    milliseconds = 0
    for character in id[:10]:
        milliseconds = milliseconds * 32 + CROCKFORD.index(character)
    assert milliseconds == 1469918176385


def test_ids_sort_by_their_time() -> None:
    times = iter([1.0, 1.5, 2.0, 1e9, 1e10])
    maker = IdMaker(lambda: next(times))

    ids = [maker.make() for _ in range(5)]

    assert ids == sorted(ids)
    assert len({id[:10] for id in ids}) == 5


def test_ids_go_up_while_the_clock_stands_still_or_goes_back() -> None:
    times = iter([5.0] * 500 + [4.0] * 500 + [5.0005, 6.0])
    maker = IdMaker(lambda: next(times))

    ids = [maker.make() for _ in range(1002)]

    assert ids == sorted(set(ids))


def test_two_makers_do_not_make_the_same_id() -> None:
    assert IdMaker(lambda: 5.0).make() != IdMaker(lambda: 5.0).make()


def test_threads_get_different_ids() -> None:
    maker, ids = IdMaker(lambda: 5.0), list[str]()
    threads = [
        threading.Thread(target=lambda: ids.extend(maker.make() for _ in range(500)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 2000


@given(st.integers(0, 2**127), st.floats(0, 2**40))
def test_no_id_sorts_before_an_earlier_one_whatever_the_clock_says(
    number: int, seconds: float
) -> None:
    earlier = "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))

    assert IdMaker(lambda: seconds, after=earlier).make() > earlier
