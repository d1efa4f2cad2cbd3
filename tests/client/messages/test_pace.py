"""The faster the server, the larger the messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory._messages.pace import FIRST_ITEMS, GROWTH, Pace


def steps(per_second: float, count: int = 8) -> list[int]:
    """Return the number of items in each of the first messages, at a server of constant speed."""
    pace, sizes = Pace(), []
    for _ in range(count):
        sizes.append(pace.items)
        pace.note(pace.items, pace.items / per_second)
    return sizes


def test_the_first_message_is_small_and_each_grows_at_most_fourfold() -> None:
    assert steps(1e6, 5) == [4, 16, 64, 256, 1024]


@pytest.mark.parametrize(
    ("per_second", "items"), [(200, 300), (14, 21), (10, 15), (1, 1), (0.1, 1)]
)
def test_it_settles_at_a_second_and_a_half_of_work(per_second: float, items: int) -> None:
    assert steps(per_second)[-1] == items


def test_with_a_short_timeout_messages_take_an_eighth_of_it() -> None:
    pace = Pace(timeout=4.0)

    pace.note(4, 2.0)

    assert pace.items == 1


def test_a_few_items_that_were_left_over_say_little_of_the_speed() -> None:
    pace = Pace()
    pace.note(16, 0.1)

    pace.note(1, 0.09)

    assert pace.items == 64


def test_it_falls_at_once_when_the_server_becomes_slow() -> None:
    pace = Pace()
    pace.note(256, 0.5)

    pace.note(256, 64.0)

    assert pace.items == 6


@pytest.mark.parametrize("wait", [0.3, 2.0, 10.0])
def test_what_a_message_takes_whatever_its_size_does_not_make_it_smaller(wait: float) -> None:
    pace = Pace()

    for _ in range(12):
        pace.note(pace.items, wait + pace.items / 100)

    assert 100 <= pace.items <= 150


def test_a_few_slow_items_are_not_taken_for_waiting() -> None:
    assert steps(0.05) == [4, 1, 1, 1, 1, 1, 1, 1]


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1e4)), max_size=30))
def test_a_message_has_an_item_at_least_and_at_most_four_times_what_was_measured(
    notes: list[tuple[int, float]],
) -> None:
    pace = Pace()

    for items, seconds in notes:
        pace.note(items, seconds)

    assert 1 <= pace.items <= max([FIRST_ITEMS, *(GROWTH * items for items, _ in notes)])
