"""A call says what was asked, or is refused before it is sent."""

from __future__ import annotations

import pytest

from visual_memory import Client, FailedPrecondition, InvalidArgument
from visual_memory._calls.entries import purge_entries, update_entry
from visual_memory._calls.memories import create_memory
from visual_memory.v1 import service_pb2 as pb


def test_a_memory_is_made_with_the_default_embedder() -> None:
    call = create_memory("pets", None, None, False, None)

    assert isinstance(call.request, pb.CreateMemoryRequest)
    assert call.request.embedder == "efficientnet-lite0"
    assert len(call.request.request_id) == 32


def test_embedder_and_dimension_exclude_each_other() -> None:
    with pytest.raises(InvalidArgument, match="exclude each other"):
        create_memory("pets", "fake", 2, False, None)


def test_an_update_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="label or metadata must be given"):
        update_entry("pets", "a", None, None, None)


def test_an_update_names_the_fields_that_it_changes() -> None:
    call = update_entry("pets", "a", None, {"source": "x"}, None)

    assert isinstance(call.request, pb.UpdateEntryRequest)
    assert call.request.update_mask.paths == ["metadata"]


@pytest.mark.parametrize(("apply", "request_id"), [(True, "r1"), (False, "")])
def test_a_purge_is_a_write_only_where_it_is_applied(apply: bool, request_id: str) -> None:
    call = purge_entries("pets", "label = 'cat'", apply, "r1")

    assert isinstance(call.request, pb.PurgeEntriesRequest)
    assert call.request.request_id == request_id


def test_a_server_that_keeps_no_pictures_is_noticed(client: Client) -> None:
    with pytest.raises(FailedPrecondition, match='made "gallery" without; delete that memory'):
        client.create_memory("gallery", store_images=True)  # as from a release before that
