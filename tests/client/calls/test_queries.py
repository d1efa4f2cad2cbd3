"""Queries are cut into messages, each with all fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import visual_memory
from visual_memory import Client, InvalidArgument
from visual_memory._calls.queries import search
from visual_memory._messages.pace import Pace
from visual_memory.types import Limits
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.client.conftest import Service


@pytest.mark.parametrize(
    ("k", "sentence"), [(0, "k must be at least 1, but is 0"), (1.5, "k must be a whole number")]
)
def test_a_wrong_k_is_refused(k: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        search("pets", images=None, vectors=[[1.0]], k=k, filter=None, exclude_ids=())


def test_a_k_beyond_the_wire_means_all() -> None:
    queries = search("pets", images=None, vectors=[[1.0]], k=10**12, filter=None, exclude_ids=())

    assert isinstance(queries.header, pb.SearchRequest)
    assert queries.header.k == 2**31 - 1


def test_a_message_has_as_many_items_as_the_answers_before_it_show_to_be_fast() -> None:
    limits = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=200)
    queries = search("pets", images=[b"x"] * 30, vectors=None, k=7, filter=None, exclude_ids=())
    pace = Pace()
    calls = queries.calls(limits, pace)

    first, second = next(calls), next(calls)
    first.read(pb.SearchResponse())
    third = next(calls)
    pace.note(16, 60.0)

    sizes = [len(each.request.images.data) for each in (first, second, third, *calls)]  # type: ignore[attr-defined]
    assert sizes == [4, 4, 16, *[1] * 6]


def test_a_call_begins_at_the_speed_of_the_one_before(client: Client, service: Service) -> None:
    pets = client.memory("pets")
    pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])
    for _ in range(4):
        pets.classify(images=[b"x"] * 100)
    service.requests["Classify"].clear()

    pets.classify(images=[b"x"] * 100)

    assert [len(request.images.data) for request in service.requests["Classify"]] == [100]


def test_every_message_repeats_the_question_for_its_part() -> None:
    limits = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=2)
    vectors = np.ones((5, 2))
    queries = search("pets", images=None, vectors=vectors, k=7, filter=None, exclude_ids=["a"])

    calls = list(queries.calls(limits, Pace()))

    assert [call.start for call in calls] == [0, 2, 4]
    requests = [call.request for call in calls if isinstance(call.request, pb.SearchRequest)]
    assert [request.vectors.rows for request in requests] == [2, 2, 1]
    assert [(request.k, *request.exclude_ids) for request in requests] == [(7, "a")] * 3


@pytest.mark.parametrize(
    ("own", "asked", "most"),
    [
        ("eyes", None, 8),
        ("eyes", "none", 80),
        ("eyes", "others", 8),
        ("", None, 80),
    ],
)
def test_a_reranker_gets_few_pictures_a_message(
    client: Client, service: Service, own: str, asked: str | None, most: int
) -> None:
    service.reranker = own
    pets = client.memory("pets")
    pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])
    for _ in range(4):  # until it is known that the server is fast
        service.requests["Classify"].clear()
        pets.classify(images=[b"x"] * 80, reranker=asked)

    came = [len(request.images.data) for request in service.requests["Classify"]]
    assert max(came) == most
    assert sum(came) == 80


def test_a_memory_is_looked_at_only_where_a_reranker_may_get_too_much(
    client: Client, target: str, service: Service
) -> None:
    pets = client.memory("pets")
    pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])
    pets.classify(images=[b"x"] * 20)
    service.reranker = "eyes"
    with visual_memory.connect(target) as other:
        other.memory("pets").classify(images=[b"x"] * 8)
        other.memory("pets").classify(vectors=[[1.0, 0.0]] * 20)

    assert service.requests["GetMemory"] == []


@pytest.mark.parametrize(("k", "looks", "most"), [(2, 0, 20), (3, 1, 13), (10**9, 1, 4)])
def test_a_message_holds_as_many_queries_as_may_be_answered(
    client: Client, service: Service, k: int, looks: int, most: int
) -> None:
    service.limits.neighbors = 40
    pets = client.memory("pets")
    pets.insert(vectors=[[1.0, 0.0]] * 5, labels=["cat"] * 5)

    pets.search(vectors=[[1.0, 0.0]] * 20, k=k)

    came = [request.vectors.rows for request in service.requests["Search"]]
    assert max(came) <= most  # the pace begins with fewer
    assert sum(came) == 20
    assert len(service.requests["GetMemory"]) == looks
