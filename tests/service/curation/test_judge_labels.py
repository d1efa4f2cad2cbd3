"""The label of each entry is judged by the other entries, asked of a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, refusal
from tests.index.curation.crowds import leave_one_out, objects

import visual_memory
from visual_memory import Client, InvalidArgument, LabelJudgement, Memory, NotFound
from visual_memory.options import Voting
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import unit_rows
from visual_memory_index.curation.assessment import LeaveOneOut
from visual_memory_index.curation.judgement import judge

if TYPE_CHECKING:
    from tests.conftest import Server

COUNT = 240
CENTRES = np.random.default_rng(0).normal(size=(4, 16))
LABELS = np.random.default_rng(1).integers(0, 4, COUNT)
NOISE = 0.6 * np.random.default_rng(2).normal(size=(COUNT, 16))
ROWS = unit_rows((CENTRES[LABELS] + NOISE).astype(np.float32))
IDS = [f"{number:04}" for number in np.random.default_rng(3).permutation(COUNT)]
WRONG = set(IDS[::12])
NAMES = [str((label + (id in WRONG)) % 4) for id, label in zip(IDS, LABELS, strict=True)]


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 240 entries around four centres, one in twelve labelled as the next centre."""
    crowd = client.create_memory(f"{empty.name}x", dimension=16)
    crowd.insert(vectors=ROWS, labels=NAMES, ids=IDS)
    return crowd


@pytest.mark.parametrize(("k", "voting"), [(7, "rank"), (20, "plurality"), (50, "rank")])
def test_every_label_is_judged_as_the_index_does_by_20_neighbours_at_most(
    crowd: Memory, k: int, voting: Voting
) -> None:
    found = crowd.judge_labels(k=k, voting=voting)

    judged = leave_one_out(ROWS, NAMES, min(k, 20), voting)
    judged = LeaveOneOut(
        objects(IDS), judged.labels, judged.neighbors, judged.distances, judged.weights
    )
    expected = judge(judged, ROWS.__getitem__)
    assert [each.id for each in found] == [each.id for each in expected]
    for each, other in zip(found, expected, strict=True):
        names = ("label", "proposed", "score", "suspect", "reason")
        assert [getattr(each, name) for name in names] == [getattr(other, name) for name in names]


def test_the_suspects_are_those_of_an_assessment(crowd: Memory) -> None:
    found = crowd.judge_labels(k=20)

    named = [
        (each.id, each.label, each.proposed, each.score, each.reason)
        for each in found
        if each.suspect
    ]
    suspects = crowd.assess(k=20).suspects
    assert named == [
        (each.id, each.label, each.proposed, each.score, each.reason) for each in suspects
    ]
    assert {each.id for each in found[:15]} <= WRONG
    assert sorted(each.id for each in found) == sorted(IDS)


def test_entries_of_a_thin_label_are_judged_but_never_suspect(crowd: Memory) -> None:
    ids = [f"x{at}" for at in range(4)]
    crowd.insert(vectors=ROWS[:4], labels=["rare"] * 4, ids=ids)

    thin, judged = ({each.id: each for each in crowd.judge_labels(thin=thin)} for thin in (5, 4))

    assert not any(thin[id].suspect for id in ids)
    assert any(judged[id].suspect for id in ids)
    assert all(thin[id].score > 0.5 for id in ids)


def test_more_judgements_than_a_message_holds_come_in_several(
    client: Client, empty: RemoteMemory, server: Server
) -> None:
    memory = client.create_memory(f"{empty.name}x", dimension=4)
    rows = np.random.default_rng(5).normal(size=(2500, 4))
    memory.insert(vectors=rows, labels=["a", "b"] * 1250)

    answers = list(server.stub.JudgeLabels(pb.JudgeLabelsRequest(memory=memory.name)))

    sizes = [len(answer.judgements) for answer in answers if answer.judgements]
    assert sizes == [1000, 1000, 500]
    assert len({answer.operation for answer in answers}) == 1
    found = [each.id for answer in answers for each in answer.judgements]
    assert found == [each.id for each in memory.judge_labels()]


def test_progress_is_told_and_the_operation_is_done(client: Client, crowd: Memory) -> None:
    on_progress: list[tuple[int, int]] = []

    crowd.judge_labels(progress=lambda *counts: on_progress.append(counts))

    (operation,) = client.operations(crowd.name)
    assert (operation.kind, operation.state) == ("judge", "done")
    assert client.operation(operation.name).result is None
    assert on_progress[-1] == (COUNT, COUNT)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_entries_cannot_judge_each_other(
    client: Client, empty: RemoteMemory, count: int
) -> None:
    memory = client.memory(empty.name)
    if count:
        memory.insert(vectors=np.eye(4)[:count], labels=["a"] * count)

    with pytest.raises(visual_memory.Error, match="At least two voting entries") as caught:
        memory.judge_labels()

    assert caught.value.reason == "NOT_DONE"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"k": 0}, "k must be at least 1, but is 0"),
        ({"k": 1001}, "k must be 1 to 1000, but is 1001"),
        ({"thin": 0}, "thin must be at least 1, but is 0"),
        ({"voting": "loudly"}, "voting must be one of plurality, distance, softmax, rank"),
    ],
)
def test_a_wrong_question_is_refused_and_begins_nothing(
    client: Client, crowd: Memory, how: Any, sentence: str
) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        crowd.judge_labels(**how)

    assert list(client.operations(crowd.name)) == []


def test_raw_calls_are_refused_with_the_field(crowd: Memory, server: Server) -> None:
    asked: list[Any] = [{"k": 0}, {"k": 1001}, {"thin": 0}, {"voting": "loudly"}]

    def ask(fields: Any) -> None:
        list(server.stub.JudgeLabels(pb.JudgeLabelsRequest(memory=crowd.name, **fields)))

    refused = [refusal(ask, fields).field_violations[0][0] for fields in asked]

    assert refused == ["k", "k", "thin", "voting"]


def test_asyncio_does_the_same(server: Server, crowd: Memory) -> None:
    async def run() -> list[LabelJudgement]:
        async with visual_memory.aio.connect(server.address) as client:
            with pytest.raises(NotFound, match='no memory named "nobody"'):
                await client.memory("nobody").judge_labels()
            return await client.memory(crowd.name).judge_labels(k=9, voting="softmax", thin=3)

    assert asyncio.run(run()) == crowd.judge_labels(k=9, voting="softmax", thin=3)
