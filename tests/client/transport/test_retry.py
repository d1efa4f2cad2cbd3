"""A message is sent again after growing delays, up to the deadline."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import grpc
import pytest

from visual_memory import DeadlineExceeded, ResourceExhausted, Unavailable
from visual_memory._transport.retry import RetryBudget, is_retriable


class Broken(grpc.RpcError):
    """A stand-in for the error that gRPC raises."""

    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


REFUSED = Broken(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: …")
STOPPED = Broken(grpc.StatusCode.UNAVAILABLE, "Socket closed")
BUSY = Broken(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")


def patient(clock: Clock, **options: Any) -> RetryBudget:
    return RetryBudget("host:1", 60.0, clock=clock, jitter=lambda: 1.0, **options)


def waited(budget: RetryBudget, clock: Clock, error: grpc.RpcError) -> list[float]:
    """Return all delays before retries end."""
    pauses: list[float] = []
    with suppress(ResourceExhausted, Unavailable):
        while len(pauses) < 1000:
            pauses.append(budget.next_delay(error))
            clock.now += pauses[-1]
    return pauses


def test_pauses_double_up_to_two_seconds_and_end_with_the_timeout() -> None:
    clock = Clock()

    pauses = waited(patient(clock), clock, BUSY)

    assert pauses[:8] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    assert 58 < sum(pauses) < 60


def test_a_message_that_waits_for_long_says_once_for_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    budget = patient(clock)
    full = Broken(grpc.StatusCode.RESOURCE_EXHAUSTED, "The disk is full; make room.")

    for _ in range(5):
        clock.now += budget.next_delay(full)
    assert not caplog.messages
    for _ in range(6):
        clock.now += budget.next_delay(full)

    assert caplog.messages == ["Trying again for 58 s: The disk is full; make room."]
    budget.renew(start=0)
    waited(budget, clock, full)
    assert len(caplog.messages) == 2


def test_a_refused_connection_is_tried_for_five_seconds_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    budget = patient(clock)

    pauses = waited(budget, clock, REFUSED)

    assert sum(pauses) == pytest.approx(5.0)
    assert not caplog.messages
    waited(budget, clock, BUSY)  # which the server that has come up meanwhile is
    assert len(caplog.messages) == 1


def test_of_several_addresses_of_a_name_the_one_that_answers_is_told() -> None:
    begin, clock = "failed to connect to all addresses; last error: UNKNOWN:", Clock()
    answers = Broken(
        grpc.StatusCode.UNAVAILABLE, f"{begin} ipv4:127.0.0.1:1: Hostname Verification Check failed"
    )
    nobody = [
        Broken(grpc.StatusCode.UNAVAILABLE, f"{begin} {address}: Connection refused")
        for address in ("ipv6:%5B::1%5D:1", "ipv4:127.0.0.1:1")
    ]

    def told(*errors: grpc.RpcError) -> str:
        budget = patient(clock)
        for error in errors:
            clock.now += budget.next_delay(error)
        clock.now += 5
        with pytest.raises(Unavailable) as caught:
            budget.next_delay(errors[-1])
        return caught.value.message

    assert "not for this name" in told(answers, nobody[0])
    assert "not for this name" in told(nobody[0], answers, nobody[0])
    assert "No server answers" in told(answers, nobody[1])  # it has ended meanwhile
    assert "No server answers" in told(*nobody)


def test_a_server_that_was_reached_before_is_waited_for_until_the_timeout() -> None:
    clock = Clock()
    budget = patient(clock)
    budget.next_delay(REFUSED)
    clock.now += 4

    budget.next_delay(STOPPED)

    assert 53 < sum(waited(budget, clock, REFUSED)) < 56


@pytest.mark.parametrize(("timeout", "seconds"), [(60.0, 5.0), (4.0, 1.0), (0.2, 0.1)])
def test_a_server_that_works_is_to_say_so_several_times_within_the_timeout(
    timeout: float, seconds: float
) -> None:
    assert RetryBudget("host:1", timeout).alive_seconds == seconds


def test_jitter_takes_up_to_half_of_a_pause() -> None:
    budget = RetryBudget("host:1", 60.0, clock=Clock(), jitter=lambda: 0.0)

    assert budget.next_delay(BUSY) == pytest.approx(0.025)


def test_time_without_waiting_for_the_server_does_not_count() -> None:
    clock = Clock()
    budget = patient(clock)
    clock.now += 50

    budget.extend(100.0)

    assert budget.remaining() == pytest.approx(60.0)


def test_what_was_refused_before_the_time_ran_out_is_told() -> None:
    clock = Clock()
    budget = patient(clock)
    budget.next_delay(Broken(grpc.StatusCode.RESOURCE_EXHAUSTED, "Make room on the disk."))
    clock.now += 60

    with pytest.raises(
        DeadlineExceeded, match=r"The try before was refused: Make room on the disk\."
    ):
        budget.raise_timeout()


def test_a_cancelled_call_after_the_deadline_was_too_late() -> None:
    clock = Clock()
    budget = patient(clock, request_id="r1")
    clock.now += 60

    with pytest.raises(DeadlineExceeded, match=r"timeout of 60 s; .* request_id='r1'") as caught:
        budget.next_delay(Broken(grpc.StatusCode.CANCELLED))

    assert caught.value.request_id == "r1"


@pytest.mark.parametrize(
    ("code", "details", "worth"),
    [
        (grpc.StatusCode.UNAVAILABLE, "stopping", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 8)", False),
        (grpc.StatusCode.INTERNAL, "Internal error from Core", True),
        (grpc.StatusCode.INTERNAL, "The service failed; its log says why.", False),
        (grpc.StatusCode.NOT_FOUND, "", False),
        (grpc.StatusCode.FAILED_PRECONDITION, "a.sqlite could not be written", False),
    ],
)
def test_only_what_may_pass_is_tried_again(
    code: grpc.StatusCode, details: str, worth: bool
) -> None:
    assert is_retriable(Broken(code, details)) is worth
