"""Entries are judged by the votes of other entries, asked of a real server."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, refusal

import visual_memory
from visual_memory import (
    Assessment,
    Client,
    FailedPrecondition,
    InvalidArgument,
    Memory,
    NotFound,
)
from visual_memory.options import Head, Voting
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import VOTINGS, calibration_error, exact_distances, unit_rows
from visual_memory_index.curation.assessment import NEAR_DUPLICATE

if TYPE_CHECKING:
    from tests.conftest import Server, Start

COUNT = 240
CENTRES = np.random.default_rng(0).normal(size=(4, 16))
LABELS = np.random.default_rng(1).integers(0, 4, COUNT)
ROWS = CENTRES[LABELS] + 0.6 * np.random.default_rng(2).normal(size=(COUNT, 16))
ROWS = ROWS.astype(np.float32)
IDS = [f"{number:04}" for number in np.random.default_rng(3).permutation(COUNT)]
TRUTH = dict(zip(IDS, map(str, LABELS), strict=True))
WRONG = {id: str((int(TRUTH[id]) + 1) % 4) for id in IDS[::12]}
NAMES = [WRONG.get(id, TRUTH[id]) for id in IDS]


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 240 entries around four centres, labelled by centre but for one in twelve."""
    crowd = client.create_memory(f"{empty.name}x", dimension=16)
    crowd.insert(vectors=ROWS, labels=NAMES, ids=IDS)
    return crowd


def others_say(memory: Memory, **how: Any) -> list[str]:
    """Classify each entry by all others, one call each; return the labels."""
    return [
        memory.classify(vectors=ROWS[[at]], exclude_ids=[id], neighbors=0, **how)[0].label
        for at, id in enumerate(IDS)
    ]


@pytest.mark.parametrize("voting", sorted(VOTINGS))
def test_the_accuracy_is_that_of_asking_the_others_of_each_entry(
    crowd: Memory, voting: Voting
) -> None:
    found = crowd.assess(k=9, voting=voting)

    said = others_say(crowd, k=9, voting=voting)
    pairs = Counter(zip(NAMES, said, strict=True))
    right = sum(count for (label, guess), count in pairs.items() if label == guess)
    assert found.count == COUNT
    assert found.accuracy == pytest.approx(right / COUNT, abs=1e-12)
    assert [(each.label, each.count) for each in found.labels] == sorted(Counter(NAMES).items())
    for each in found.labels:
        assert each.called == {
            guess: count for (label, guess), count in pairs.items() if label == each.label
        }
        share = pairs[each.label, each.label] / each.count
        assert each.accuracy == pytest.approx(share, abs=1e-12)
        assert list(each.called.values()) == sorted(each.called.values(), reverse=True)


@pytest.mark.parametrize(
    "how",
    [
        {"head": "means"},
        {"head": "means", "blend": 1.0, "balance": 1.0},
        {"head": "discriminants", "ridge": 0.3, "balance": 0.5},
        {"head": "discriminants", "blend": 1.0, "voting": "softmax"},
    ],
)
def test_with_a_head_each_entry_is_decided_as_if_it_had_never_been(
    crowd: Memory, how: dict[str, Any]
) -> None:
    crowd.insert(vectors=ROWS[:1], labels=["alone"], ids=["alone"])
    ids, rows, labels = [*IDS, "alone"], [*range(COUNT), 0], [*NAMES, "alone"]
    said = [
        crowd.classify(vectors=ROWS[[row]], exclude_ids=[id], neighbors=0, k=9, **how)[0]
        for id, row in zip(ids, rows, strict=True)
    ]

    found = crowd.assess(k=9, **how)

    right = [each.label == label for each, label in zip(said, labels, strict=True)]
    by_label = {each.label: each for each in found.labels}
    for label in sorted(set(labels)):
        own = [guess.label for guess, name in zip(said, labels, strict=True) if name == label]
        assert by_label[label].called == Counter(own)
        assert by_label[label].accuracy == own.count(label) / len(own)
    error = calibration_error(np.array([each.confidence for each in said]), np.array(right))
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.macro_accuracy == pytest.approx(np.mean([each.accuracy for each in found.labels]))
    assert found.calibration_error == pytest.approx(error, abs=1e-6)
    votes: Any = {name: how[name] for name in ("balance", "voting") if name in how}
    assert found.suspects == crowd.assess(k=9, **votes).suspects


def test_unless_told_otherwise_it_is_the_accuracy_before_a_prune(crowd: Memory) -> None:
    found = crowd.assess()

    pruned = crowd.prune(method="ids", ids=IDS[:1])
    assert found.accuracy == pytest.approx(pruned.accuracy_before, abs=1e-12)
    assert found.accuracy == crowd.assess(k=50, voting="rank", thin=5).accuracy


def test_the_calibration_error_is_that_of_the_winners_shares(crowd: Memory) -> None:
    found = crowd.assess(k=9, voting="plurality")

    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for at, id in enumerate(IDS):
        how: Any = {"vectors": ROWS[[at]], "exclude_ids": [id], "k": 9, "voting": "plurality"}
        (decision,) = crowd.classify(**how)
        share = decision.scores[decision.label] / sum(decision.scores.values())
        bins[int(np.ceil(share * 15)) - 1].append((share, decision.label == NAMES[at]))
    gaps = [abs(sum(share - right for share, right in each)) for each in bins]
    assert found.calibration_error == pytest.approx(sum(gaps) / COUNT, abs=1e-12)


def test_wrong_labels_are_suspect_and_the_right_ones_are_proposed(crowd: Memory) -> None:
    found = crowd.assess(k=20)

    suspects = {each.id: each for each in found.suspects}
    assert len(suspects) == len(found.suspects)
    assert len(suspects.keys() & WRONG) >= 0.9 * len(WRONG)
    assert len(suspects.keys() - WRONG) <= 2
    for id in suspects.keys() & WRONG:
        assert (suspects[id].label, suspects[id].proposed) == (WRONG[id], TRUTH[id])
        assert f"labelled {TRUTH[id]}" in suspects[id].reason
    scores = [each.score for each in found.suspects]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] <= scores[0] <= 1


def test_what_is_proposed_can_be_set_and_makes_it_better(crowd: Memory) -> None:
    before = crowd.assess(k=20)

    crowd.relabel({each.id: each.proposed for each in before.suspects}, apply=True)

    after = crowd.assess(k=20)
    assert after.accuracy > before.accuracy
    assert not {each.id for each in after.suspects} & {each.id for each in before.suspects}


def test_the_same_vector_with_two_labels_is_a_conflict(crowd: Memory) -> None:
    crowd.insert(
        vectors=ROWS[[5, 7, 9]], labels=["other", "another", NAMES[9]], ids=["z", "!", "y"]
    )

    found = crowd.assess().conflicts

    same = [each for each in found if each.distance < 1e-6]
    assert found[: len(same)] == same
    assert {(each.ids, each.labels) for each in same} == {
        ((IDS[5], "z"), (NAMES[5], "other")),
        (("!", IDS[7]), ("another", NAMES[7])),
    }


def test_conflicts_are_all_near_pairs_with_different_labels(
    client: Client, empty: RemoteMemory
) -> None:
    generator = np.random.default_rng(4)
    rows = unit_rows(generator.normal(size=(40, 3)).astype(np.float32))
    labels = generator.choice(["a", "b"], 40).tolist()
    memory = client.create_memory(f"{empty.name}x", dimension=3)
    ids = [f"{number:02}" for number in range(40)]
    memory.insert(vectors=rows, labels=labels, ids=ids)

    found = memory.assess().conflicts

    near = sorted(
        (float(exact_distances(rows[one], rows[[other]])[0]), (ids[one], ids[other]))
        for one in range(40)
        for other in range(one + 1, 40)
        if labels[one] != labels[other]
    )
    expected = [(distance, pair) for distance, pair in near if distance <= NEAR_DUPLICATE]
    assert [(each.distance, each.ids) for each in found] == expected != []


def test_labels_of_few_entries_are_thin_and_not_judged(crowd: Memory) -> None:
    crowd.insert(vectors=ROWS[:4], labels=["rare"] * 4, ids=[f"x{at}" for at in range(4)])

    found = crowd.assess()
    judged = crowd.assess(thin=4)

    assert {each.label for each in found.labels if each.thin} == {"rare"}
    assert not any(each.thin for each in judged.labels)
    assert not any(each.label == "rare" for each in found.suspects)
    assert any(each.label == "rare" for each in judged.suspects)


def test_pruned_entries_neither_judge_nor_are_judged(crowd: Memory) -> None:
    crowd.prune(method="ids", ids=WRONG, apply=True)

    found = crowd.assess(k=20)

    left = Counter(name for name, id in zip(NAMES, IDS, strict=True) if id not in WRONG)
    assert found.count == COUNT - len(WRONG)
    assert {each.label: each.count for each in found.labels} == left
    assert not {each.id for each in found.suspects} & WRONG.keys()
    crowd.delete(WRONG)
    assert crowd.assess(k=20).accuracy == found.accuracy


def test_more_neighbours_than_there_are_means_all_others(crowd: Memory) -> None:
    found, same = crowd.assess(k=COUNT - 1), crowd.assess(k=1000)

    assert (found.accuracy, found.suspects, found.calibration_error) == (
        same.accuracy,
        same.suspects,
        same.calibration_error,
    )


def test_two_entries_judge_each_other(client: Client, empty: RemoteMemory) -> None:
    memory = client.memory(empty.name)
    memory.insert(vectors=np.eye(4)[[0, 0]], labels=["a", "b"], ids=["x", "y"])

    found = memory.assess()

    assert (found.count, found.accuracy, found.calibration_error) == (2, 0.0, 1.0)
    assert [each.called for each in found.labels] == [{"b": 1}, {"a": 1}]
    assert [(each.ids, each.labels) for each in found.conflicts] == [(("x", "y"), ("a", "b"))]
    assert found.suspects == []


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("head", ["none", "means", "discriminants"])
def test_fewer_than_two_entries_cannot_judge_each_other(
    client: Client, empty: RemoteMemory, count: int, head: Head
) -> None:
    memory = client.memory(empty.name)
    if count:
        memory.insert(vectors=np.eye(4)[:count], labels=["a"] * count)

    with pytest.raises(FailedPrecondition, match="At least two voting entries are needed"):
        memory.assess(head=head)


def test_an_assessment_is_an_operation_that_cannot_be_undone(client: Client, crowd: Memory) -> None:
    found = crowd.assess()

    operation = client.operation(found.operation)
    assert (operation.kind, operation.state, operation.result) == ("assess", "done", found)
    with pytest.raises(FailedPrecondition, match="assess"):
        crowd.undo(found.operation)
    with pytest.raises(FailedPrecondition, match="it is done already"):
        client.cancel(found.operation)


def test_an_assessment_is_found_again_after_a_restart(start: Start, tmp_path: Path) -> None:
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=16)
        crowd.insert(vectors=ROWS, labels=NAMES, ids=IDS)
        crowd.insert(vectors=ROWS[:1], labels=["other"], ids=["z"])
        found = crowd.assess(request_id="once")
        (known,) = client.operations("crowd")

    server.restart()
    with visual_memory.connect(server.address) as client:
        crowd = client.memory("crowd")

        assert list(client.operations("crowd")) == [replace(known, done=0, total=0)]
        assert client.operation(found.operation).result == found
        assert crowd.assess(request_id="once") == found
        assert crowd.assess().suspects == found.suspects != []
        assert crowd.assess().conflicts == found.conflicts != []


def test_a_repeated_request_is_answered_by_the_assessment_it_began(
    client: Client, crowd: Memory
) -> None:
    first = crowd.assess(request_id="once")
    crowd.delete(IDS[:100])

    assert crowd.assess(request_id="once") == first
    assert len(list(client.operations(crowd.name))) == 1
    with pytest.raises(InvalidArgument, match="used before with other content"):
        crowd.assess(k=3, request_id="once")


def test_progress_is_told_how_many_entries_are_judged(client: Client, empty: RemoteMemory) -> None:
    on_progress: list[tuple[int, int]] = []
    memory = client.create_memory(f"{empty.name}x", dimension=32)
    rows = np.random.default_rng(5).normal(size=(2000, 32))
    memory.insert(vectors=rows, labels=["a", "b"] * 1000)

    memory.assess(k=1000, progress=lambda *counts: on_progress.append(counts))

    assert on_progress == sorted(on_progress) != []
    assert {total for _, total in on_progress} == {2000}
    assert on_progress[-1] == (2000, 2000)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"k": 0}, "k must be at least 1, but is 0"),
        ({"k": 1001}, "k must be 1 to 1000, but is 1001"),
        ({"k": 1.5}, "k must be a whole number"),
        ({"thin": 0}, "thin must be at least 1, but is 0"),
        ({"thin": -1}, "thin must be at least 1, but is -1"),
        ({"voting": "loudly"}, "voting must be one of plurality, distance, softmax, rank"),
    ],
)
def test_a_wrong_question_is_refused_and_begins_nothing(
    client: Client, crowd: Memory, how: Any, sentence: str
) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        crowd.assess(**how)

    assert list(client.operations(crowd.name)) == []


def test_a_memory_that_is_not_there_is_named(client: Client) -> None:
    with pytest.raises(NotFound, match='no memory named "nobody"'):
        client.memory("nobody").assess()


def test_raw_calls_are_refused_with_the_field(crowd: Memory, server: Server) -> None:
    asked: list[Any] = [{"k": 0}, {"k": 1001}, {"thin": 0}, {"voting": "loudly"}]

    refused = [
        refusal(
            server.stub.AssessMemory, pb.AssessMemoryRequest(memory=crowd.name, **fields)
        ).field_violations[0][0]
        for fields in asked
    ]

    assert refused == ["k", "k", "thin", "voting"]


def test_asyncio_does_the_same(server: Server, crowd: Memory) -> None:
    async def run() -> Assessment:
        async with visual_memory.aio.connect(server.address) as client:
            memory = client.memory(crowd.name)
            with pytest.raises(InvalidArgument, match="voting"):
                await memory.assess(voting="loudly")  # type: ignore[call-overload]  # a wrong word
            return await memory.assess(k=9, voting="softmax", thin=3, request_id="once")

    assert asyncio.run(run()) == crowd.assess(k=9, voting="softmax", thin=3, request_id="once")


def test_what_is_repeated_after_its_result_is_gone_is_refused_by_a_reason(crowd: Memory) -> None:
    crowd.insert(vectors=ROWS[:1] + 1, labels=["alone"], ids=["alone"])
    assert crowd.assess(request_id="assess").count == COUNT + 1
    pruned = crowd.prune(method="ids", ids=["alone"], apply=True, request_id="prune")
    assert pruned.ids == ["alone"]
    crowd.delete(["alone"])

    with pytest.raises(FailedPrecondition, match="repeated call cannot return its result") as gone:
        crowd.assess(request_id="assess")
    with pytest.raises(FailedPrecondition) as gone_too:
        crowd.prune(method="ids", ids=["alone"], apply=True, request_id="prune")

    assert (gone.value.reason, gone_too.value.reason) == ("RESULT_GONE", "RESULT_GONE")
    assert crowd.assess(request_id="another").count == COUNT
