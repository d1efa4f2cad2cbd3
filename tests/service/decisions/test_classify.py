"""Queries: the entries that vote on them, their answers, and queries that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import refusal, to_vectors

import visual_memory
from visual_memory.v1 import decision_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import VOTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RemoteMemory, Start

NAN = float("nan")
INVALID, EMPTY = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
QUERY = [0.9, 0.4, 0.1, 0.0]


def ask(pets: RemoteMemory, **more: Any) -> decision_pb2.Decision:
    given = {"vectors": to_vectors(QUERY), **more}
    return pets.stub.Classify(pb.ClassifyRequest(memory=pets.name, **given)).decisions[0]


def find(pets: RemoteMemory, **more: Any) -> list[str]:
    given = {"vectors": to_vectors(QUERY), **more}
    result = pets.stub.Search(pb.SearchRequest(memory=pets.name, **given)).results[0]
    return [near.id for near in result.neighbors]


def ids(decision: decision_pb2.Decision) -> list[str]:
    return [near.id for near in decision.neighbors]


@pytest.mark.parametrize("k", [3, 4, 50, 10_000, 2**31 - 1, None])
def test_k_beyond_the_memory_uses_all_of_it(pets: RemoteMemory, k: int | None) -> None:
    assert ids(ask(pets, k=k)) == ["a", "b", "c"]
    assert find(pets, k=k) == ["a", "b", "c"]


def test_without_words_the_50_nearest_vote_by_rank(empty: RemoteMemory) -> None:
    empty.insert(np.random.default_rng(0).normal(size=(60, 4)), [f"{n:02}" for n in range(60)])

    decision = ask(empty)

    assert [near.weight for near in decision.neighbors] == [1 / (2 + rank) for rank in range(50)]
    assert decision.SerializeToString() == ask(empty, k=50, voting="rank").SerializeToString()


@pytest.mark.parametrize(("neighbors", "shown"), [(0, []), (2, ["a", "b"]), (9, ["a", "b", "c"])])
def test_a_decision_carries_as_many_neighbours_as_were_asked_for(
    pets: RemoteMemory, neighbors: int, shown: list[str]
) -> None:
    decision = ask(pets, neighbors=neighbors)

    assert ids(decision) == shown
    assert decision.scores == ask(pets).scores


def test_equal_distances_come_by_id_in_byte_order(empty: RemoteMemory) -> None:
    mixed = ["b", "é", "a", "Z", "10", "9", "\U0001f408", "\uffee"]
    empty.insert([[1, 0, 0, 0]] * len(mixed), mixed)

    assert find(empty) == sorted(mixed, key=str.encode)


def test_distances_reach_from_0_to_2(empty: RemoteMemory) -> None:
    empty.insert([[1, 0, 0, 0], [0, 1, 0, 0], [-1, 0, 0, 0]], ["same", "across", "opposite"])

    decision = ask(empty, vectors=to_vectors([5, 0, 0, 0]))

    assert [near.distance for near in decision.neighbors] == [0.0, 1.0, 2.0]


def test_a_batch_is_answered_in_order(pets: RemoteMemory) -> None:
    request = pb.ClassifyRequest(memory=pets.name, vectors=to_vectors(np.eye(4)[[2, 0, 1]]), k=1)

    decisions = pets.stub.Classify(request).decisions

    assert [ids(decision) for decision in decisions] == [["c"], ["a"], ["b"]]
    assert [decision.label for decision in decisions] == ["dog", "cat", "cat"]


def test_the_next_neighbour_moves_up_for_one_that_is_excluded(pets: RemoteMemory) -> None:
    assert ids(ask(pets, k=2, exclude_ids=["a", "unknown"])) == ["b", "c"]
    assert find(pets, k=2, exclude_ids=["b"]) == ["a", "c"]


def test_an_excluded_entry_has_no_influence_at_all(pets: RemoteMemory) -> None:
    without = ask(pets, exclude_ids=["a"])

    pets.stub.DeleteEntries(pb.DeleteEntriesRequest(memory=pets.name, ids=["a"]))

    assert without.SerializeToString() == ask(pets).SerializeToString()


@pytest.mark.parametrize(
    ("filter", "admitted"),
    [
        ('label = "dog"', ["c"]),
        ('NOT id = "a"', ["b", "c"]),
        ('metadata.source = "web"', ["b"]),
        ("metadata:source", ["b", "c"]),
        ('label = "cat" AND metadata.source = "web"', ["b"]),
        ('create_time > "2020-01-01T00:00:00Z"', ["a", "b", "c"]),
    ],
)
def test_only_those_that_the_filter_admits_answer(
    pets: RemoteMemory, filter: str, admitted: list[str]
) -> None:
    for id, source in (("b", "web"), ("c", "film")):
        request = pb.UpdateEntryRequest(memory=pets.name)
        request.entry.id, request.entry.metadata["source"] = id, source
        pets.stub.UpdateEntry(request)

    assert ids(ask(pets, filter=filter)) == admitted
    assert find(pets, filter=filter, k=1) == admitted[:1]
    assert find(pets, filter=filter, exclude_ids=admitted[:1] if len(admitted) > 1 else []) == (
        admitted[1:] or admitted
    )


@pytest.mark.parametrize(
    ("voting", "weights"),
    [
        ("plurality", [1, 1]),
        ("distance", [np.exp(-0.0), np.exp(-1.0)]),
        ("softmax", [np.exp(1 / 0.07), 1.0]),
        ("rank", [1 / 2, 1 / 3]),
        ("", [1 / 2, 1 / 3]),
    ],
)
def test_a_voting_weighs_as_it_says(pets: RemoteMemory, voting: str, weights: list[float]) -> None:
    decision = ask(pets, vectors=to_vectors([1, 0, 0, 0]), k=2, voting=voting)

    assert [near.weight for near in decision.neighbors] == pytest.approx(weights, rel=1e-12)
    assert decision.scores[0].score == pytest.approx(sum(weights), rel=1e-12)
    assert (decision.label, decision.confidence) == ("cat", 1.0)


@pytest.mark.parametrize(("balance", "factors"), [(0.0, [1, 1]), (0.5, [0.1, 1]), (1.0, [0.01, 1])])
def test_a_balance_divides_the_votes_of_labels_with_many_entries(
    empty: RemoteMemory, balance: float, factors: list[float]
) -> None:
    rows = np.concatenate([np.tile([1.0, 0.0, 0.0, 0.0], (100, 1)), [[0.0, 1.0, 0.0, 0.0]]])
    with visual_memory.connect(empty.server.address) as client:
        memory = client.memory(empty.name)
        memory.insert(vectors=rows, labels=["cat"] * 100 + ["dog"])

        decision = memory.classify(vectors=[QUERY], k=101, voting="plurality", balance=balance)[0]

    assert decision.scores == pytest.approx({"cat": 100 * factors[0], "dog": factors[1]})


def test_softmax_votes_have_a_temperature(pets: RemoteMemory) -> None:
    decision = ask(pets, vectors=to_vectors([1, 0, 0, 0]), k=2, voting="softmax", temperature=0.5)

    weights = [near.weight for near in decision.neighbors]
    assert weights == pytest.approx([np.exp(2.0), 1.0], rel=1e-12)


# Refusals

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"k": 0}, "k", "must be at least 1, but is 0"),
    ({"k": -(2**31)}, "k", "at least 1"),
    ({"filter": "label = "}, "filter", "character 9"),
    ({"filter": 'size = "big"'}, "filter", "size"),
    ({"vectors": to_vectors([0, 0, 0, 0])}, "vectors[0]", "not zero"),
    ({"vectors": to_vectors([[1.0, 0.0, 0.0, 0.0], [1.0, NAN, 0.0, 0.0]])}, "vectors[1]", "finite"),
    ({"vectors": to_vectors([1, 0, 0])}, "vectors", "dimension 3, but this memory holds 4"),
    ({"vectors": None}, "images", "must be given"),
]


@pytest.mark.parametrize(("given", "field", "says"), REFUSED)
@pytest.mark.parametrize("call", [ask, find])
def test_what_cannot_be_asked_is_refused_by_name(
    pets: RemoteMemory, call: Any, given: dict[str, Any], field: str, says: str
) -> None:
    before = pets.stored()

    error = refusal(lambda: call(pets, **given))

    assert (error.code, error.field_violations[0][0]) == (INVALID, field)
    assert says in error.message
    assert pets.stored() == before


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"voting": "loudest"}, "voting", f"{', '.join(VOTINGS)}, but is 'loudest'"),
        ({"voting": "Rank"}, "voting", "'Rank'"),
        ({"neighbors": -1}, "neighbors", "-1"),
        ({"balance": 1.5}, "balance", "from 0 to 1, but is 1.5"),
        ({"balance": NAN}, "balance", "from 0 to 1, but is nan"),
        ({"voting": "softmax", "temperature": 0.001}, "temperature", "from 0.005 to 10"),
        ({"voting": "softmax", "temperature": NAN}, "temperature", "but is nan"),
        ({"temperature": 0.5}, "temperature", "counts with voting softmax alone, not with rank"),
    ],
)
def test_a_vote_that_cannot_be_held_is_refused_by_name(
    pets: RemoteMemory, given: dict[str, Any], field: str, says: str
) -> None:
    error = refusal(lambda: ask(pets, **given))

    assert (error.code, error.field_violations[0][0]) == (INVALID, field)
    assert says in error.message


@pytest.mark.parametrize("call", [ask, find])
def test_an_empty_memory_cannot_be_asked(empty: RemoteMemory, call: Any) -> None:
    error = refusal(call, empty)

    assert (error.code, error.reason) == (EMPTY, "EMPTY_MEMORY")
    assert f'"{empty.name}" is empty' in error.message


@pytest.mark.parametrize("call", [ask, find])
@pytest.mark.parametrize("given", [{"filter": "label = fox"}, {"exclude_ids": ["a", "b", "c"]}])
def test_nobody_left_to_ask_is_refused(
    pets: RemoteMemory, call: Any, given: dict[str, Any]
) -> None:
    error = refusal(lambda: call(pets, **given))

    assert (error.code, error.reason) == (EMPTY, "EMPTY_MEMORY")
    assert "No entry is left to ask" in error.message
    assert ("exclude_ids" in error.message) == ("exclude_ids" in given)


def test_pictures_for_a_memory_of_vectors_are_refused(pets: RemoteMemory) -> None:
    request = pb.ClassifyRequest(memory=pets.name)
    request.images.data.append(b"?")

    error = refusal(pets.stub.Classify, request)

    assert (error.code, error.reason) == (EMPTY, "NO_EMBEDDER")


def test_more_queries_than_one_message_takes_are_refused(pets: RemoteMemory) -> None:
    error = refusal(lambda: find(pets, vectors=to_vectors(np.ones((10_001, 4)))))

    assert (error.code, error.field_violations[0][0]) == (INVALID, "vectors.rows")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"k": 0}, visual_memory.InvalidArgument),
        ({"voting": "loudest"}, visual_memory.InvalidArgument),
        ({"filter": "label"}, visual_memory.InvalidArgument),
        ({"filter": "label = fox"}, visual_memory.FailedPrecondition),
        ({"vectors": [[0, 0, 0, 0]]}, visual_memory.InvalidArgument),
        ({"vectors": [[1, 0, 0]]}, visual_memory.InvalidArgument),
    ],
)
def test_the_client_raises_the_same_refusals(
    pets: RemoteMemory, given: dict[str, Any], kind: type[visual_memory.Error]
) -> None:
    with visual_memory.connect(pets.server.address) as client, pytest.raises(kind):
        client.memory(pets.name).classify(**{"vectors": [QUERY], **given})


def test_the_client_answers_what_the_stub_answers(pets: RemoteMemory) -> None:
    with visual_memory.connect(pets.server.address) as client:
        decision = client.memory(pets.name).classify(vectors=[QUERY], k=2)[0]

    raw = ask(pets, k=2)
    assert (decision.label, decision.confidence) == (raw.label, raw.confidence)
    assert decision.neighbors.ids == ids(raw)
    assert decision.neighbors.distances.tolist() == [near.distance for near in raw.neighbors]


def test_queries_of_one_message_have_so_many_neighbours_together(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    config.write_text("neighbors_max = 100\n")
    server = start(None, "--config", str(config))
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    labels = [f"{number % 55}" for number in range(60)]
    with visual_memory.connect(server.address) as client:
        client.create_memory("pets", dimension=4)
        pets = client.memory("pets")
        pets.insert(vectors=rows, labels=labels, ids=[f"{number:02}" for number in range(60)])
        pets.calibrate(k=2)
        two: dict[str, Any] = {"memory": "pets", "vectors": to_vectors(rows[:2])}

        beyond = refusal(server.stub.Classify, pb.ClassifyRequest(**two, k=51, neighbors=0))
        found = refusal(server.stub.Search, pb.SearchRequest(**two, k=10**9))
        sets = refusal(server.stub.Classify, pb.ClassifyRequest(**two, k=2, coverage=0.9))
        at_most = server.stub.Search(pb.SearchRequest(**two, k=50)).results
        alone = [pets.search(vectors=row[None, :], k=10**9)[0] for row in rows]
        split = pets.search(vectors=rows, k=10**9)
        decisions = pets.classify(vectors=rows, k=2, coverage=0.9)

    for error in (beyond, found, sets):
        assert (error.code, error.reason) == (INVALID, "ANSWER_TOO_LARGE")
    assert "2 queries with 51 neighbours each are 102, but" in beyond.message
    assert "2 queries with 55 labels each are 110, but" in sets.message
    assert [len(each.neighbors) for each in at_most] == [50, 50]
    assert [each.ids for each in split] == [each.ids for each in alone]
    assert {len(each) for each in split} == {60}
    assert len(decisions) == 60
