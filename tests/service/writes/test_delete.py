"""Entries are deleted by id or by filter, all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.conftest import refusal, to_vectors

import visual_memory
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def test_what_is_deleted_is_gone_at_once(pets: RemoteMemory) -> None:
    request = pb.DeleteEntriesRequest(memory=pets.name, ids=["a", "c"])

    assert pets.stub.DeleteEntries(request).deleted_count == 2

    search = pb.SearchRequest(memory=pets.name, vectors=to_vectors(np.eye(4)[0]))
    assert [near.id for near in pets.stub.Search(search).results[0].neighbors] == ["b"]
    assert pets.ids() == ["b"]


def test_an_id_that_comes_twice_is_deleted_once(pets: RemoteMemory) -> None:
    request = pb.DeleteEntriesRequest(memory=pets.name, ids=["a", "a"])

    assert pets.stub.DeleteEntries(request).deleted_count == 1


def test_unknown_ids_are_listed_and_nothing_is_deleted(pets: RemoteMemory) -> None:
    before = pets.stored()
    request = pb.DeleteEntriesRequest(memory=pets.name, ids=["a", "x", "b", "y"])

    error = refusal(pets.stub.DeleteEntries, request)

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_ENTRIES")
    assert error.message.endswith("nothing was changed: x, y.")
    assert pets.stored() == before


def test_unknown_ids_are_skipped_on_request(pets: RemoteMemory) -> None:
    request = pb.DeleteEntriesRequest(memory=pets.name, ids=["a", "x"], allow_missing=True)

    assert pets.stub.DeleteEntries(request).deleted_count == 1
    assert pets.ids() == ["b", "c"]


@pytest.mark.parametrize(
    ("ids", "field"), [([], "ids"), (["a", ""], "ids[1]"), (["x" * 257], "ids[0]")]
)
def test_ids_that_cannot_be_are_refused(pets: RemoteMemory, ids: list[str], field: str) -> None:
    before = pets.stored()

    error = refusal(
        pets.stub.DeleteEntries,
        pb.DeleteEntriesRequest(memory=pets.name, ids=ids, allow_missing=True),
    )

    assert (error.code, error.field_violations[0][0]) == (INVALID, field)
    assert pets.stored() == before


def test_the_last_entry_can_be_deleted_and_the_memory_filled_again(pets: RemoteMemory) -> None:
    pets.stub.DeleteEntries(pb.DeleteEntriesRequest(memory=pets.name, ids=pets.ids()))
    assert pets.stored() == []

    pets.insert(np.eye(4)[:1], ["a"])

    assert pets.ids() == ["a"]


# Purges


@pytest.mark.parametrize("filter", ["", "  \n"])
@pytest.mark.parametrize("apply", [False, True])
def test_a_purge_without_a_filter_is_refused(pets: RemoteMemory, filter: str, apply: bool) -> None:
    before = pets.stored()

    error = refusal(
        pets.stub.PurgeEntries,
        pb.PurgeEntriesRequest(memory=pets.name, filter=filter, apply=apply),
    )

    assert (error.code, error.field_violations[0][0]) == (INVALID, "filter")
    assert "delete the memory" in error.message
    assert pets.stored() == before


def test_a_purge_by_a_filter_that_does_not_parse_is_refused(pets: RemoteMemory) -> None:
    before = pets.stored()

    error = refusal(
        pets.stub.PurgeEntries,
        pb.PurgeEntriesRequest(memory=pets.name, filter="label = ", apply=True),
    )

    assert (error.code, error.reason) == (INVALID, "BAD_FILTER")
    assert error.field_violations[0][0] == "filter"
    assert pets.stored() == before


def test_without_apply_a_purge_only_shows(pets: RemoteMemory) -> None:
    before = pets.stored()
    request = pb.PurgeEntriesRequest(memory=pets.name, filter='label = "cat"')

    shown = pets.stub.PurgeEntries(request)

    assert (shown.purge_count, list(shown.sample_ids), shown.applied) == (2, ["a", "b"], False)
    assert pets.stored() == before


def test_with_apply_a_purge_forgets_what_it_showed(pets: RemoteMemory) -> None:
    request = pb.PurgeEntriesRequest(memory=pets.name, filter='label = "cat"', apply=True)

    done = pets.stub.PurgeEntries(request)

    assert (done.purge_count, list(done.sample_ids), done.applied) == (2, ["a", "b"], True)
    assert pets.ids() == ["c"]


def test_a_purge_tells_100_ids_at_most(empty: RemoteMemory) -> None:
    ids = [f"{number:03}" for number in range(150)]
    empty.insert(np.ones((150, 4)), ids)

    done = empty.stub.PurgeEntries(
        pb.PurgeEntriesRequest(memory=empty.name, filter="label = cat", apply=True)
    )

    assert (done.purge_count, list(done.sample_ids)) == (150, ids[:100])


def test_the_client_raises_the_same_refusals(pets: RemoteMemory) -> None:
    before = pets.stored()

    with visual_memory.connect(pets.server.address) as client:
        memory = client.memory(pets.name)
        with pytest.raises(visual_memory.NotFound, match=r": x\."):
            memory.delete(["a", "x"])
        with pytest.raises(visual_memory.InvalidArgument, match="filter"):
            memory.purge("", apply=True)

    assert pets.stored() == before
