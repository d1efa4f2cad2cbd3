"""A repeated write gets its first answer, also after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import RemoteMemory, Server, refusal, to_batch

from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

INVALID = grpc.StatusCode.INVALID_ARGUMENT

# A write, the same with other content, and what is done between the two tries
WRITES: dict[str, tuple[str, Message, Message]] = {
    "create": (
        "CreateMemory",
        pb.CreateMemoryRequest(name="made", dimension=4),
        pb.CreateMemoryRequest(name="made", dimension=5),
    ),
    "drop": (
        "DeleteMemory",
        pb.DeleteMemoryRequest(name="doomed"),
        pb.DeleteMemoryRequest(name="pets"),
    ),
    "insert": (
        "InsertEntries",
        pb.InsertEntriesRequest(memory="pets", batch=to_batch(np.eye(4)[:2], ["x", ""])),
        pb.InsertEntriesRequest(memory="pets", batch=to_batch(np.eye(4)[1:3], ["x", ""])),
    ),
    "replace": (
        "InsertEntries",
        pb.InsertEntriesRequest(
            memory="pets", batch=to_batch(np.eye(4)[3:], ["a"]), replace_existing=True
        ),
        pb.InsertEntriesRequest(memory="pets", batch=to_batch(np.eye(4)[3:], ["a"])),
    ),
    "update": (
        "UpdateEntry",
        pb.UpdateEntryRequest(memory="pets", entry=entry_pb2.Entry(id="a", label="wolf")),
        pb.UpdateEntryRequest(memory="pets", entry=entry_pb2.Entry(id="a", label="fox")),
    ),
    "delete": (
        "DeleteEntries",
        pb.DeleteEntriesRequest(memory="pets", ids=["b", "c"]),
        pb.DeleteEntriesRequest(memory="pets", ids=["a"]),
    ),
    "delete missing": (
        "DeleteEntries",
        pb.DeleteEntriesRequest(memory="pets", ids=["b", "gone"], allow_missing=True),
        pb.DeleteEntriesRequest(memory="pets", ids=["b"]),
    ),
    "purge": (
        "PurgeEntries",
        pb.PurgeEntriesRequest(memory="pets", filter="label = cat", apply=True),
        pb.PurgeEntriesRequest(memory="pets", filter="label = dog", apply=True),
    ),
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests may restart."""
    server = Server(tmp_path_factory.mktemp("own") / "data")
    yield server
    assert server.end() == 0


@pytest.fixture
def pets(own: Server) -> RemoteMemory:
    """A new memory "pets" with the entries a, b and c; a memory "doomed" is there to be deleted."""
    for memory in own.stub.ListMemories(pb.ListMemoriesRequest()).memories:
        own.stub.DeleteMemory(pb.DeleteMemoryRequest(name=memory.name))
    for name in ("pets", "doomed"):
        own.stub.CreateMemory(pb.CreateMemoryRequest(name=name, dimension=4))
    pets = RemoteMemory(own, "pets")
    pets.insert(np.eye(4)[:3], ["a", "b", "c"], ["cat", "cat", "dog"])
    return pets


def named(request: Any, request_id: str) -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    copy.request_id = request_id
    return copy


def state(pets: RemoteMemory) -> tuple[list[str], list[bytes]]:
    memories = pets.stub.ListMemories(pb.ListMemoriesRequest()).memories
    return [memory.name for memory in memories], pets.stored()


def answer(pets: RemoteMemory, method: str, request: Any) -> bytes:
    response = getattr(pets.stub, method)(request)
    if method == "CreateMemory":
        response.ClearField("disk_bytes")
    data: bytes = response.SerializeToString(deterministic=True)
    return data


@pytest.mark.parametrize("write", WRITES)
def test_a_repeated_write_is_answered_as_before_and_done_once(
    pets: RemoteMemory, write: str
) -> None:
    method, request, _ = WRITES[write]
    first = answer(pets, method, named(request, f"{write} once"))
    before = state(pets)

    again = answer(pets, method, named(request, f"{write} once"))

    assert (again, state(pets)) == (first, before)


@pytest.mark.parametrize("write", WRITES)
def test_the_same_id_for_other_content_is_refused(pets: RemoteMemory, write: str) -> None:
    method, request, other = WRITES[write]
    answer(pets, method, named(request, f"{write} other"))
    before = state(pets)

    error = refusal(answer, pets, method, named(other, f"{write} other"))

    assert (error.code, error.reason) == (INVALID, "REQUEST_REUSED")
    assert error.field_violations[0][0] == "request_id"
    assert f'"{write} other"' in error.message
    assert state(pets) == before


@pytest.mark.parametrize("write", [name for name in WRITES if "Memory" not in WRITES[name][0]])
def test_the_same_id_for_another_call_is_refused(pets: RemoteMemory, write: str) -> None:
    method, request, _ = WRITES[write]
    other = "insert" if method != "InsertEntries" else "delete"
    answer(pets, method, named(request, f"{write} call"))
    before = state(pets)

    error = refusal(answer, pets, WRITES[other][0], named(WRITES[other][1], f"{write} call"))

    assert (error.code, error.reason) == (INVALID, "REQUEST_REUSED")
    assert state(pets) == before


@pytest.mark.parametrize("method", ["insert", "delete", "drop", "purge", "create", "update"])
@pytest.mark.parametrize("request_id", ["x" * 257, "a\0"])
def test_an_id_that_cannot_be_is_refused(pets: RemoteMemory, method: str, request_id: str) -> None:
    before = state(pets)

    error = refusal(answer, pets, WRITES[method][0], named(WRITES[method][1], request_id))

    assert (error.code, error.field_violations[0][0]) == (INVALID, "request_id")
    assert state(pets) == before


def test_every_write_is_answered_as_before_after_a_restart(pets: RemoteMemory) -> None:
    order = ["create", "drop", "insert", "replace", "update", "delete", "purge"]
    first = {
        write: answer(pets, WRITES[write][0], named(WRITES[write][1], f"{write} restart"))
        for write in order
        if write != "update"
    }
    before = state(pets)

    pets.server.restart(number=9)

    assert state(pets) == before
    for write in first:
        method, request, other = WRITES[write]
        assert answer(pets, method, named(request, f"{write} restart")) == first[write]
        assert refusal(answer, pets, method, named(other, f"{write} restart")).code is INVALID
    assert state(pets) == before


def test_a_refused_write_does_not_use_its_id_up(pets: RemoteMemory) -> None:
    taken = pb.InsertEntriesRequest(
        memory="pets", batch=to_batch(np.eye(4)[:1], ["a"]), request_id="refused first"
    )
    refusal(pets.stub.InsertEntries, taken)

    pets.insert(np.eye(4)[:1], ["new"], request_id="refused first")

    assert pets.ids() == ["a", "b", "c", "new"]


def test_what_a_purge_only_showed_can_be_applied_under_the_same_id(pets: RemoteMemory) -> None:
    shown = pb.PurgeEntriesRequest(memory="pets", filter="label = cat", request_id="show")
    pets.stub.PurgeEntries(shown)

    shown.apply = True
    pets.stub.PurgeEntries(shown)

    assert pets.ids() == ["c"]


def test_a_repeated_insertion_does_not_bring_back_what_was_deleted_since(
    pets: RemoteMemory,
) -> None:
    pets.insert(np.eye(4)[:1], ["new"], request_id="then deleted")
    pets.stub.DeleteEntries(pb.DeleteEntriesRequest(memory="pets", ids=["new"]))

    again = pets.insert(np.eye(4)[:1], ["new"], request_id="then deleted")

    assert again == ["new"]
    assert pets.ids() == ["a", "b", "c"]


def test_an_id_belongs_to_one_memory(pets: RemoteMemory) -> None:
    other = RemoteMemory(pets.server, "doomed")
    pets.insert(np.eye(4)[:1], ["new"], request_id="in both")

    other.insert(np.eye(4)[:1], ["new"], request_id="in both")

    assert other.ids() == ["new"]


def test_a_repeated_update_is_answered_with_the_entry_as_it_is_by_then(pets: RemoteMemory) -> None:
    _, request, other = WRITES["update"]
    answer(pets, "UpdateEntry", named(request, "update, changed"))
    changed = answer(pets, "UpdateEntry", other)
    stored = pets.stored()

    assert answer(pets, "UpdateEntry", named(request, "update, changed")) == changed
    assert pets.stored() == stored


def test_a_repeated_update_of_an_entry_that_was_deleted_since_says_so(pets: RemoteMemory) -> None:
    request = named(WRITES["update"][1], "update, gone")
    answer(pets, "UpdateEntry", request)
    pets.stub.DeleteEntries(pb.DeleteEntriesRequest(memory="pets", ids=["a"]))

    error = refusal(pets.stub.UpdateEntry, request)

    assert error.reason == "DELETED_SINCE"
    assert 'The request "update, gone" changed the entry "a" before' in error.message
