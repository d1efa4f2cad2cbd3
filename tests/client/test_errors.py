"""Refusals cross the wire whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from visual_memory import (
    AlreadyExists,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    InvalidArgument,
    Memory,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from visual_memory._transport.channel import Failed
from visual_memory.errors import (
    CLASSES,
    FIELD_BYTES_MAX,
    LEFT_OUT,
    SENTENCE_BYTES_MAX,
    cut,
    from_rpc,
    refuse,
)

if TYPE_CHECKING:
    from tests.client.conftest import Service

KINDS = (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


def test_every_kind_has_its_status() -> None:
    assert {kind: kind.status for kind in KINDS} == {v: k for k, v in CLASSES.items()}


@pytest.mark.parametrize(
    "kind", [AlreadyExists, FailedPrecondition, NotFound, PermissionDenied, Unauthenticated]
)
def test_a_status_becomes_its_class(service: Service, pets: Memory, kind: type[Error]) -> None:
    assert kind.status is not None
    service.faults["GetMemory"] = [kind.status]

    with pytest.raises(kind, match=r"^not now$") as caught:
        pets.info()

    assert type(caught.value) is kind
    assert caught.value.code is kind.status


def test_a_status_without_a_class_is_an_error_with_its_code(service: Service, pets: Memory) -> None:
    service.faults["GetMemory"] = [grpc.StatusCode.DATA_LOSS]

    with pytest.raises(Error, match="not now") as caught:
        pets.info()

    assert type(caught.value) is Error
    assert caught.value.code is grpc.StatusCode.DATA_LOSS


def test_details_become_reason_and_violations(
    service: Service, pets: Memory, bad_field: status_pb2.Status
) -> None:
    service.refusal = bad_field

    with pytest.raises(InvalidArgument, match=r"^images\[1\] is damaged\.$") as caught:
        pets.embed([b"a", b"b"])

    assert caught.value.reason == "UNDECODABLE_IMAGE"
    assert caught.value.field_violations == [("images[1]", "is damaged")]


def test_an_error_shows_no_trace_of_grpc(service: Service, pets: Memory) -> None:
    service.faults["GetMemory"] = [grpc.StatusCode.NOT_FOUND]

    with pytest.raises(NotFound) as caught:
        pets.info()

    assert caught.value.__suppress_context__


def test_a_message_that_grpc_finds_too_large_is_refused_without_a_retry(
    service: Service, pets: Memory
) -> None:
    with pytest.raises(InvalidArgument, match="more than one message may hold") as caught:
        pets.delete(["x" * 256] * 40_000)

    assert caught.value.reason == "TOO_LARGE"


def test_what_the_client_refuses_looks_like_the_servers_refusal() -> None:
    with pytest.raises(InvalidArgument, match=r"^k must be at least 1\.$") as caught:
        refuse("k", "must be at least 1")

    assert caught.value.reason == "BAD_FIELD"
    assert caught.value.field_violations == [("k", "must be at least 1")]
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_failed_handshake_is_not_called_a_missing_server() -> None:
    details = "failed to connect to all addresses; last error: Ssl handshake failed"

    error = from_rpc(Failed(grpc.StatusCode.UNAVAILABLE, details), "host:1")

    assert "root_certificates" in error.message


def test_a_shift_changes_the_number_of_the_item_at_fault_and_no_id_or_path() -> None:
    with pytest.raises(InvalidArgument) as caught:
        refuse("images[0]", "no such file: images[2020]/cat.jpg", separator=": ")
    caught.value.shift(64)

    assert caught.value.message == "images[64]: no such file: images[2020]/cat.jpg."
    assert caught.value.field_violations == [("images[64]", "no such file: images[2020]/cat.jpg")]


def test_a_shift_leaves_ids_in_errors_about_no_item() -> None:
    error = AlreadyExists("Entries exist: images[900], entries[1].")
    error.shift(64)

    assert error.message == "Entries exist: images[900], entries[1]."


def test_a_shift_leaves_a_key_in_a_field() -> None:
    field = "entries[1].metadata['images[2]']"
    error = InvalidArgument(f"{field} must not hold NUL.", field_violations=[(field, "must not")])
    error.shift(64)

    assert error.field_violations[0][0] == "entries[65].metadata['images[2]']"
    assert error.message == "entries[65].metadata['images[2]'] must not hold NUL."


def test_a_short_text_stays_as_it_is() -> None:
    assert cut("漢" * 341 + "a") == "漢" * 341 + "a"


@given(st.text(min_size=1), st.integers(40, 2000))
def test_a_long_text_loses_its_middle_and_keeps_what_to_do(text: str, most: int) -> None:
    long = f"Begins {text * most} ends"

    short = cut(long, most)

    assert most - 7 <= len(short.encode()) <= most  # up to three bytes of a character on each side
    assert short.startswith("Begins ")
    assert LEFT_OUT in short
    assert short.endswith(" ends")


def test_what_the_client_refuses_is_cut() -> None:
    with pytest.raises(InvalidArgument) as caught:
        refuse("漢" * 1000, f"must be short, but is {'x' * 10_000}")

    ((field, wish),) = caught.value.field_violations
    assert len(str(caught.value).encode()) <= SENTENCE_BYTES_MAX
    assert str(caught.value).endswith("xxx.")
    assert len(field.encode()) <= FIELD_BYTES_MAX
    assert wish.startswith("must be short, but is xxx")
