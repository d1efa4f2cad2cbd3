"""Queries that arrive together are searched together, without an effect on each other."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, refusal, to_vectors

from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Server

QUERIES = np.random.default_rng(1).normal(size=(256, 32))


@pytest.fixture(scope="module")
def crowd(server: Server) -> Iterator[RemoteMemory]:
    """A memory of 1,000 entries (32 dimensions), every tenth a copy of the one before."""
    crowd = RemoteMemory(server, f"m{uuid.uuid4().hex}")
    server.stub.CreateMemory(pb.CreateMemoryRequest(name=crowd.name, dimension=32))
    rows = np.random.default_rng(2).normal(size=(1000, 32))
    rows[9::10] = rows[8::10]
    crowd.insert(
        rows, [f"{number:04}" for number in range(1000)], [f"label {n % 7}" for n in range(1000)]
    )
    yield crowd
    server.stub.DeleteMemory(pb.DeleteMemoryRequest(name=crowd.name))


def question(crowd: RemoteMemory, number: int, **more: Any) -> pb.ClassifyRequest:
    given = {"vectors": to_vectors(QUERIES[number]), "k": 10, **more}
    return pb.ClassifyRequest(memory=crowd.name, **given)


def together(crowd: RemoteMemory, **more: Any) -> list[bytes]:
    given = {"vectors": to_vectors(QUERIES), "k": 10, **more}
    request = pb.ClassifyRequest(memory=crowd.name, **given)
    decisions = crowd.stub.Classify(request).decisions
    return [decision.SerializeToString(deterministic=True) for decision in decisions]


def alone(answer: Any) -> bytes:
    data: bytes = answer.decisions[0].SerializeToString(deterministic=True)
    return data


def test_many_at_once_get_the_bits_of_one_batch(crowd: RemoteMemory) -> None:
    with ThreadPoolExecutor(64) as threads:
        answers = threads.map(
            lambda number: alone(crowd.stub.Classify(question(crowd, number))), range(256)
        )

        assert list(answers) == together(crowd)


def test_many_questions_of_different_kinds_do_not_mix(crowd: RemoteMemory) -> None:
    kinds: list[dict[str, Any]] = [
        {"k": 1},
        {"k": 1000, "voting": "distance"},
        {"filter": 'label = "label 3"'},
        {"exclude_ids": ["0001", "0008", "0009"]},
    ]
    expected = [together(crowd, **kind) for kind in kinds]

    calls = [
        crowd.stub.Classify.future(question(crowd, number, **kinds[number % 4]))
        for number in range(256)
    ]

    for number, call in enumerate(calls):
        assert alone(call.result()) == expected[number % 4][number]


def test_those_that_are_cancelled_do_not_harm_the_others(crowd: RemoteMemory) -> None:
    expected = together(crowd)

    calls = [crowd.stub.Classify.future(question(crowd, number)) for number in range(256)]
    for call in calls[::2]:
        call.cancel()

    for number in range(1, 256, 2):
        assert alone(calls[number].result()) == expected[number]
    assert alone(crowd.stub.Classify(question(crowd, 0))) == expected[0]


def test_an_error_of_one_is_not_the_answer_of_another(crowd: RemoteMemory) -> None:
    expected = together(crowd)
    wrong = [
        question(crowd, 0, vectors=to_vectors([1.0, 2.0])),
        question(crowd, 0, filter="label = none"),
        question(crowd, 0, k=0),
    ]

    pairs = [
        (crowd.stub.Classify.future(question(crowd, number)), crowd.stub.Classify.future(bad))
        for number, bad in enumerate(wrong * 40)
    ]

    for number, (good, bad) in enumerate(pairs):
        assert alone(good.result()) == expected[number]
        assert refusal(bad.result).reason in ("WRONG_DIMENSION", "EMPTY_MEMORY", "BAD_FIELD")


def test_questions_beside_edits_see_a_batch_whole_or_not_at_all(crowd: RemoteMemory) -> None:
    far = -QUERIES[0]
    ids = [f"far {number}" for number in range(20)]
    search = pb.SearchRequest(memory=crowd.name, vectors=to_vectors(far), k=20)

    def delete() -> list[str]:
        crowd.stub.DeleteEntries(pb.DeleteEntriesRequest(memory=crowd.name, ids=ids))
        return ids

    seen = set()
    with ThreadPoolExecutor(1) as threads:
        for _ in range(10):
            edit = threads.submit(crowd.insert, np.repeat(far[None], 20, axis=0), ids)
            while not edit.done():
                near = crowd.stub.Search(search).results[0].neighbors
                seen.add(sum(each.id.startswith("far") for each in near))
            edit = threads.submit(delete)
            while not edit.done():
                near = crowd.stub.Search(search).results[0].neighbors
                seen.add(sum(each.id.startswith("far") for each in near))

    assert seen == {0, 20}
