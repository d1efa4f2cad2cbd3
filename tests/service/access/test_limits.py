"""What a caller uses is held below its limits, and a refusal says when there is room again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_service.access.limits import (
    BYTES,
    CALLS_PER_SECOND,
    PACE_SECONDS_MAX,
    PIXELS,
    Account,
    BadLimit,
    Pace,
    Rate,
    parse_limits,
)
from visual_memory_service.errors import LimitReached


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def call(account: Account, *, stream: bool = False) -> Iterator[None]:
    """Context manager: a call of a caller."""
    account.begin(stream=stream)
    yield
    account.end(stream=stream)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def account(clock: Clock, **limits: float) -> Account:
    return Account("ann", limits, clock)


def test_no_more_calls_are_under_way_than_the_limit(clock: Clock) -> None:
    ours = account(clock, calls=2)
    with ExitStack() as under_way:
        for _ in range(2):
            under_way.enter_context(call(ours))
        with pytest.raises(LimitReached, match='"ann" may have 2 calls at once'):
            under_way.enter_context(call(ours, stream=True))

    with call(ours):
        pass


def test_streams_count_as_calls_too(clock: Clock) -> None:
    ours = account(clock, streams=1, calls=2)
    with call(ours, stream=True):
        with pytest.raises(LimitReached, match="1 streams at once"), call(ours, stream=True):
            pass
        with call(ours), pytest.raises(LimitReached, match="2 calls"):
            ours.begin(stream=False)


def test_a_refused_call_counts_nowhere(clock: Clock) -> None:
    ours = account(clock, streams=1, calls=5, calls_per_second=100)
    with call(ours, stream=True):
        for _ in range(1000):
            with pytest.raises(LimitReached, match="streams"), call(ours, stream=True):
                pass
        with call(ours):
            pass


def test_a_rate_is_held_and_the_wait_is_told(clock: Clock) -> None:
    ours = account(clock, bytes_per_second=1000)
    with call(ours):
        ours.use(BYTES, 4000)

    with pytest.raises(LimitReached, match="1,000 bytes a second") as caught:
        ours.begin(stream=False)
    assert caught.value.seconds == pytest.approx(3.0)
    clock.now += caught.value.seconds
    with call(ours):
        pass


@given(
    per_second=st.floats(0.5, 1000),
    steps=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 50)), max_size=50),
)
def test_over_any_time_a_rate_gives_no_more_than_it_may(
    per_second: float, steps: list[tuple[float, float]]
) -> None:
    clock = Clock()
    rate, used, largest = Rate(per_second, clock), 0.0, 0.0
    for pause, amount in steps:
        clock.now += pause
        if not rate.debt_seconds():
            rate.use(amount)
            used, largest = used + amount, max(largest, amount)

    passed = clock.now - 100.0
    assert used <= per_second * (1 + passed) * (1 + 1e-9) + largest


def test_who_asks_within_the_limit_never_waits(clock: Clock) -> None:
    ours = account(clock, calls_per_second=10)
    for _ in range(1000):
        clock.now += 0.1
        with call(ours):
            pass
    refused = 0
    for _ in range(20):
        try:
            with call(ours):
                pass
        except LimitReached:
            refused += 1
    assert 10 <= refused <= 11


def test_a_stream_waits_for_its_debts_a_moment_at_a_time(clock: Clock) -> None:
    ours = account(clock, bytes_per_second=1000, calls_per_second=0.001)
    with call(ours):
        ours.use(BYTES, 3000)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds

    async def wait() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(asyncio, "sleep", sleep)
            while await ours.wait():
                pass

    asyncio.run(wait())

    assert max(slept) <= 0.5
    assert sum(slept) == pytest.approx(2.0)


def test_a_stream_with_a_debt_of_long_is_refused_with_the_time(clock: Clock) -> None:
    ours = account(clock, bytes_per_second=1000)
    ours.use(BYTES, 61_000)

    with pytest.raises(LimitReached) as caught:
        asyncio.run(ours.wait())

    assert caught.value.seconds == pytest.approx(60.0)


def test_other_limits_count_at_once_and_the_same_forgive_nothing(clock: Clock) -> None:
    ours = account(clock, bytes_per_second=1000)
    ours.use(BYTES, 5000)
    ours.limit({BYTES: 1000})
    with pytest.raises(LimitReached):
        ours.begin(stream=False)

    ours.limit({CALLS_PER_SECOND: 5})
    with call(ours):
        assert ours.idle_seconds is None
    ours.limit({"idle_seconds": 5})
    assert ours.idle_seconds == 5


@pytest.mark.parametrize(
    ("texts", "limits"),
    [
        ([], {}),
        (["calls=32", "bytes_per_second=1e7"], {"calls": 32.0, "bytes_per_second": 1e7}),
        (["calls=1", "calls=2"], {"calls": 2.0}),
    ],
)
def test_limits_are_read(texts: list[str], limits: Mapping[str, float]) -> None:
    assert parse_limits(texts) == limits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "calls",
        "call=3",
        "calls=",
        "calls=0",
        "calls=-1",
        "calls=nan",
        "calls=1e-9",
        "calls=inf",
        "calls=x",
    ],
)
def test_what_is_no_limit_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadLimit, match=r"NAME=NUMBER|a number of at least"):
        parse_limits([text])


def test_refusals_wait_for_their_turn_but_not_for_long(clock: Clock) -> None:
    pace = Pace(10, clock)
    waits = [pace.seconds() for _ in range(300)]

    assert waits[:10] == [0.0] * 10
    assert waits[10:20] == pytest.approx([0.1 * number for number in range(1, 11)])
    assert max(waits) == PACE_SECONDS_MAX
    clock.now += PACE_SECONDS_MAX + 0.2
    assert pace.seconds() == 0.0


def test_one_call_may_make_a_debt_and_no_other_beside_it(clock: Clock) -> None:
    ours = account(clock, pixels_per_second=1000)
    with call(ours), call(ours):
        ours.use_without_debt(PIXELS, 5000)
        with pytest.raises(LimitReached, match="pixels"):
            ours.use_without_debt(PIXELS, 1)
        clock.now += 4
        ours.use_without_debt(PIXELS, 1)
    account(clock).use_without_debt(PIXELS, 1e9)
