"""Lists page by page: everything once, by id in byte order, despite concurrent changes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.conftest import RemoteMemory, refusal

from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def page(pets: RemoteMemory, size: int, token: str, filter: str = "") -> tuple[list[str], str]:
    answer = pets.stub.ListEntries(
        pb.ListEntriesRequest(memory=pets.name, page_size=size, page_token=token, filter=filter)
    )
    return [entry.id for entry in answer.entries], answer.next_page_token


def test_pages_hold_every_entry_once_while_others_are_inserted(empty: RemoteMemory) -> None:
    there = sorted(
        [*"aZz09", "é", "ab", "€", "\U0001f408", *map(str, range(10, 50))], key=str.encode
    )
    empty.insert(np.ones((len(there), 4)), there)

    listed, token = page(empty, 4, "")
    number = 0
    while token:
        more, token = page(empty, 4, token)
        listed += more
        number += 1
        if number < 20:  # or the ids that the server makes now would always be ahead
            empty.insert(np.ones((3, 4)), [f"{number}+", f"z{number}", ""])

    assert listed == sorted(set(listed), key=str.encode)
    assert set(there) <= set(listed)


@pytest.mark.parametrize(("size", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (0, [3])])
def test_the_last_page_has_no_token(pets: RemoteMemory, size: int, sizes: list[int]) -> None:
    found, token = [], ""
    for _ in sizes:
        ids, token = page(pets, size, token)
        found.append(len(ids))

    assert (found, token) == (sizes, "")


def test_a_filter_goes_through_all_pages(pets: RemoteMemory) -> None:
    first, token = page(pets, 1, "", "label = cat")
    second, end = page(pets, 1, token, "label = cat")

    assert (first, second, end) == (["a"], ["b"], "")


@pytest.mark.parametrize(
    "token",
    ["x", "é", "!!!!", base64.urlsafe_b64encode(b"\xff\0a").decode(), "YQ==", "YQBi"],
)
def test_a_token_that_was_never_given_is_refused(pets: RemoteMemory, token: str) -> None:
    error = refusal(page, pets, 1, token)

    assert (error.code, error.field_violations[0][0]) == (INVALID, "page_token")


def test_a_token_of_another_filter_is_refused(pets: RemoteMemory) -> None:
    _, token = page(pets, 1, "", "label = cat")

    error = refusal(page, pets, 1, token, "label = dog")

    assert (error.code, error.field_violations[0][0]) == (INVALID, "page_token")
    assert "another filter" in error.message


@pytest.mark.parametrize("size", [-1, 10_001])
def test_a_page_of_a_size_that_cannot_be_is_refused(pets: RemoteMemory, size: int) -> None:
    error = refusal(page, pets, size, "")

    assert (error.code, error.field_violations[0][0]) == (INVALID, "page_size")
    assert str(size) in error.message


def test_pages_of_vectors_are_cut_to_fit_a_message(start: Start, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("message_bytes_max = 1048576")
    server = start(None, "--config", str(settings))
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="wide", dimension=16_384))
    wide = RemoteMemory(server, "wide")
    for number in range(20):
        wide.insert(np.ones((1, 16_384)), [f"{number:02}"])

    request = pb.ListEntriesRequest(memory="wide", page_size=20, include_vectors=True)
    first = server.stub.ListEntries(request)

    assert 1 < len(first.entries) < 20
    assert first.ByteSize() <= 1_048_576
    assert wide.ids() == [f"{number:02}" for number in range(20)]


def test_an_entry_that_is_not_there_is_not_found(pets: RemoteMemory) -> None:
    error = refusal(pets.stub.GetEntry, pb.GetEntryRequest(memory=pets.name, id="x"))

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_ENTRIES")
    assert error.message == "No entry has these ids: x."


@pytest.mark.parametrize("id", ["", "a\0", "x" * 257])
def test_an_id_that_no_entry_could_have_is_refused(pets: RemoteMemory, id: str) -> None:
    error = refusal(pets.stub.GetEntry, pb.GetEntryRequest(memory=pets.name, id=id))

    assert (error.code, error.reason) == (INVALID, "BAD_FIELD")
    assert error.field_violations[0][0] == "id"
