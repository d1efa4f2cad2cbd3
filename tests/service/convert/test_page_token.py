"""A page token continues the list for which it was made, and no other."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import refusal, to_batch

import visual_memory
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Server

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LISTS: dict[str, Callable[[str], Any]] = {
    "ListMemories": lambda memory: pb.ListMemoriesRequest(),
    "ListEntries": lambda memory: pb.ListEntriesRequest(memory=memory),
    "GetMisleadingCounts": lambda memory: pb.GetMisleadingCountsRequest(memory=memory, k=2),
    "ListOperations": lambda memory: pb.ListOperationsRequest(memory=memory),
    "ListAuditEvents": lambda memory: pb.ListAuditEventsRequest(memory=memory),
}


@pytest.fixture(scope="module")
def same_content(server: Server) -> tuple[str, str]:
    """The names of two equal memories, each of whose lists has two pages of one item."""
    mark = uuid.uuid4().hex  # a worker may come back to this module, and make them again
    names = (f"page-token-a-{mark}", f"page-token-b-{mark}")
    with visual_memory.connect(server.address) as client:
        for name in names:
            memory = client.create_memory(name, dimension=4)
            batch = to_batch(np.eye(4), ["a", "b", "c", "d"])
            server.stub.InsertEntries(pb.InsertEntriesRequest(memory=name, batch=batch))
            memory.misleading_counts(2)
            for id in ("a", "b"):
                memory.prune(method="ids", ids=[id], apply=True)
    return names


def page(server: Server, call: str, memory: str, token: str = "", **more: Any) -> Any:
    request = LISTS[call](memory)
    request.page_size, request.page_token = 1, token
    for field, value in more.items():
        setattr(request, field, value)
    return getattr(server.stub, call)(request)


@pytest.mark.parametrize("call", LISTS)
def test_a_token_is_of_one_call_and_one_memory(
    server: Server, same_content: tuple[str, str], call: str
) -> None:
    own = LISTS[call](same_content[0])
    token = page(server, call, same_content[0]).next_page_token

    assert page(server, call, same_content[0], token)
    for other, list_of in LISTS.items():
        for memory in same_content:
            if list_of(memory) != own:
                error = refusal(page, server, other, memory, token)

                assert (error.code, error.reason) == (INVALID, "BAD_FIELD")
                assert error.field_violations[0][0] == "page_token"
                assert "begin again without one" in error.message


@pytest.mark.parametrize(
    ("call", "field", "value"),
    [("ListEntries", "filter", "label = cat"), ("GetMisleadingCounts", "k", 3)],
)
def test_a_token_is_of_one_choice(
    server: Server, same_content: tuple[str, str], call: str, field: str, value: object
) -> None:
    memory, _ = same_content
    with visual_memory.connect(server.address) as client:
        client.memory(memory).misleading_counts(3)
    token = page(server, call, memory).next_page_token

    error = refusal(lambda: page(server, call, memory, token, **{field: value}))

    assert error.field_violations[0][0] == "page_token"
    assert "begin again without one" in error.message


@pytest.mark.parametrize("call", [call for call in LISTS if call != "ListMemories"])
def test_a_token_is_of_one_memory_of_a_name(
    server: Server, same_content: tuple[str, str], tmp_path: Path, call: str
) -> None:
    memory, file = f"page-token-{call.lower()}", tmp_path / "made.vmb"
    with visual_memory.connect(server.address) as client:
        client.copy(same_content[0], memory)
        client.memory(memory).misleading_counts(2)
        token = page(server, call, memory).next_page_token
        client.backup(memory, file)
        client.delete_memory(memory)
        client.restore(file, memory)
        client.memory(memory).misleading_counts(2)

    error = refusal(page, server, call, memory, token)

    assert error.field_violations[0][0] == "page_token"
    assert "made anew; begin again without one" in error.message


def test_pages_of_counts_are_of_the_state_of_the_first_whatever_is_written_meanwhile(
    server: Server, same_content: tuple[str, str]
) -> None:
    with visual_memory.connect(server.address) as client:
        client.copy(same_content[0], "page-token-written")
        memory = client.memory("page-token-written")
        memory.insert(vectors=np.eye(4), labels=["x", "y"] * 2, ids=["e", "f", "g", "h"])
        before, found, token = memory.misleading_counts(2), dict[str, int](), ""
        for write in (
            lambda: memory.update("d", metadata={"seen": "again"}),
            lambda: memory.update("d", label="x"),
            lambda: memory.insert(vectors=np.eye(4)[:1], labels=["y"], ids=["ee"]),
            lambda: memory.delete(["f", "h"]),
            lambda: memory.prune(method="ids", ids=["d"], apply=True),
            lambda: memory.misleading_counts(2),
        ):
            part = page(server, "GetMisleadingCounts", memory.name, token)
            found |= {each.id: each.v for each in part.counts}
            token = part.next_page_token
            write()

    assert (found, token) == (before, "")


@pytest.mark.parametrize("revision", ["abc", "", "-1", "1" * 5000])
def test_a_token_of_counts_without_a_revision_is_refused(
    server: Server, same_content: tuple[str, str], revision: str
) -> None:
    memory, _ = same_content
    with visual_memory.connect(server.address) as client:
        client.memory(memory).misleading_counts(2)
    token = page(server, "GetMisleadingCounts", memory).next_page_token
    sealed = base64.urlsafe_b64decode(token).decode().split("\0")[0]
    altered = base64.urlsafe_b64encode(f"{sealed}\0{revision} a".encode()).decode()

    error = refusal(page, server, "GetMisleadingCounts", memory, altered)

    assert (error.code, error.field_violations[0][0]) == (INVALID, "page_token")


def drop_by_newer_pages(server: Server, memory: visual_memory.Memory) -> None:
    for id in ("e", "f"):
        memory.insert(vectors=np.eye(4)[:1], labels=["a"], ids=[id])
        assert page(server, "GetMisleadingCounts", memory.name).next_page_token


def unlearn(server: Server, memory: visual_memory.Memory) -> None:
    memory.unlearn(["c"])


@pytest.mark.parametrize("drop", [drop_by_newer_pages, unlearn])
def test_a_page_of_counts_is_of_the_state_of_the_page_before(
    server: Server,
    same_content: tuple[str, str],
    drop: Callable[[Server, visual_memory.Memory], None],
) -> None:
    with visual_memory.connect(server.address) as client:
        memory = client.memory(f"page-token-{drop.__name__.partition('_')[0]}")
        client.copy(same_content[0], memory.name)
        before = memory.misleading_counts(2)
        token = page(server, "GetMisleadingCounts", memory.name).next_page_token

        drop(server, memory)
        error = refusal(page, server, "GetMisleadingCounts", memory.name, token)

        assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "COUNTS_CHANGED")
        assert memory.name in error.message
        assert memory.misleading_counts(2).keys() >= before.keys() - {"c"}


def test_the_same_list_goes_on_in_pages_of_other_sizes_and_parts(
    server: Server, same_content: tuple[str, str]
) -> None:
    memory, _ = same_content
    token = page(server, "ListEntries", memory).next_page_token

    rest = page(server, "ListEntries", memory, token, page_size=9, include_vectors=True).entries

    assert [each.id for each in rest] == ["b", "c", "d"]
    assert all(each.vector for each in rest)
