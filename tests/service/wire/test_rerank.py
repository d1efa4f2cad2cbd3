"""A re-ranker weights neighbours; if it fails, the decision is made without it, and says so."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import numpy as np
import pytest
from tests.conftest import Server, to_picture

import visual_memory
from visual_memory import Client, FailedPrecondition, InvalidArgument, Memory, NotFound
from visual_memory.options import Voting
from visual_memory.v1 import reranker_pb2 as pb
from visual_memory.v1 import reranker_pb2_grpc
from visual_memory_index import VOTINGS

if TYPE_CHECKING:
    from tests.conftest import Start

Answer: TypeAlias = Callable[[pb.RerankRequest, Any], pb.RerankResponse]
PICTURES = [to_picture(seed) for seed in range(6)]
IDS, LABELS = list("abcdef"), ["x", "x", "x", "y", "y", "z"]


class Reranker(reranker_pb2_grpc.RerankerServicer):
    """A re-ranker that answers by ``answer``, and records its requests."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request, context: backwards(request)
        self.asked: list[pb.RerankRequest] = []

    def Rerank(self, request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        self.asked.append(request)
        return self.answer(request, context)


def backwards(request: pb.RerankRequest) -> pb.RerankResponse:
    ids = [candidate.id for candidate in request.candidates]
    return pb.RerankResponse(order=pb.Order(ids=ids[::-1]))


def weighing(**weights: float) -> pb.RerankResponse:
    every = dict.fromkeys(IDS, 0.0) | weights
    return pb.RerankResponse(weights=pb.CandidateWeights(weights=every))


def ordering(*ids: str) -> pb.RerankResponse:
    return pb.RerankResponse(order=pb.Order(ids=ids))


def never(request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
    while context.is_active():
        time.sleep(0.01)
    return backwards(request)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[Reranker, str]]:
    reranker = Reranker()
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    reranker_pb2_grpc.add_RerankerServicer_to_server(reranker, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield reranker, f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def reranker(serving: tuple[Reranker, str]) -> Reranker:
    serving[0].asked.clear()
    serving[0].answer = lambda request, context: backwards(request)
    return serving[0]


@pytest.fixture(scope="module")
def asking(
    serving: tuple[Reranker, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that knows two re-rankers, one of which is down."""
    flags = ["--reranker", f"eyes={serving[1]}", "--reranker", f"down=127.0.0.1:{free_port()}"]
    server = Server(tmp_path_factory.mktemp("reranked") / "data", *flags)
    yield server
    assert server.end() == 0


@pytest.fixture
def client(asking: Server) -> Iterator[Client]:
    """A client of that server; all memories are deleted after the test."""
    with visual_memory.connect(asking.address) as client:
        yield client
        for memory in client.memories():
            client.delete_memory(memory.name)


@pytest.fixture
def gallery(client: Client) -> Memory:
    gallery = client.create_memory("gallery", store_images=True)
    gallery.insert(images=PICTURES, labels=LABELS, ids=IDS)
    return gallery


@pytest.mark.parametrize("voting", list(VOTINGS))
def test_an_order_says_who_gets_which_weight(
    gallery: Memory, reranker: Reranker, voting: Voting
) -> None:
    (before,) = gallery.classify(images=PICTURES[:1], voting=voting)

    (after,) = gallery.classify(images=PICTURES[:1], voting=voting, reranker="eyes")

    assert before.reranking is None
    assert after.reranking is not None
    assert (after.reranking.reranker, after.reranking.applied) == ("eyes", True)
    assert after.neighbors.ids == before.neighbors.ids[::-1]
    assert after.neighbors.distances.tolist() == before.neighbors.distances.tolist()[::-1]
    assert after.neighbors.weights.tolist() == before.neighbors.weights.tolist()
    totals = dict.fromkeys(LABELS, 0.0)
    for each in after.neighbors:
        totals[each.label] += each.weight
    assert after.scores == pytest.approx(totals)
    assert after.label == max(totals, key=lambda label: totals[label])


def test_weights_are_the_votes(gallery: Memory, reranker: Reranker) -> None:
    reranker.answer = lambda request, context: weighing(d=2.0, a=1.5, f=0.25)

    (decision,) = gallery.classify(images=PICTURES[:1], reranker="eyes")

    assert decision.neighbors.ids[:3] == ["d", "a", "f"]
    assert decision.scores == {"y": 2.0, "x": 1.5, "z": 0.25}
    assert decision.confidence == 2.0 / 3.75


def test_equal_weights_stay_in_the_order_of_distance(gallery: Memory, reranker: Reranker) -> None:
    (before,) = gallery.classify(images=PICTURES[:1])
    reranker.answer = lambda request, context: weighing(**dict.fromkeys(IDS, 1.0))

    (after,) = gallery.classify(images=PICTURES[:1], reranker="eyes")

    assert after.neighbors.ids == before.neighbors.ids


def test_the_reranker_sees_the_query_and_its_neighbours(
    gallery: Memory, reranker: Reranker
) -> None:
    gallery.classify(images=PICTURES[2:3], k=3, reranker="eyes")

    (asked,) = reranker.asked
    assert asked.picture == PICTURES[2]
    assert asked.candidates[0].id == "c"
    assert [each.picture for each in asked.candidates] == [
        PICTURES[IDS.index(each.id)] for each in asked.candidates
    ]
    assert [each.label for each in asked.candidates] == [
        LABELS[IDS.index(each.id)] for each in asked.candidates
    ]
    distances = [each.distance for each in asked.candidates]
    assert distances == sorted(distances)


def test_a_reranker_is_told_how_large_the_message_is(gallery: Memory, reranker: Reranker) -> None:
    said = []

    def noted(request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        said.append((dict(context.invocation_metadata())["message-bytes"], request.ByteSize()))
        return backwards(request)

    reranker.answer = noted
    gallery.classify(images=PICTURES[:1], reranker="eyes")

    assert [int(told) for told, _ in said] == [size for _, size in said] != []


def test_large_pictures_are_scaled_down_for_it(gallery: Memory, reranker: Reranker) -> None:
    large = to_picture(9, (1000, 500))
    assert len(large) > 1 << 20

    gallery.classify(images=[large], k=1, reranker="eyes")

    assert len(reranker.asked[0].picture) < 1 << 18


def test_soft_votes_are_softened_after_it(gallery: Memory, reranker: Reranker) -> None:
    (soft,) = gallery.classify(images=PICTURES[:1], reliability="soft", reliability_k=2)
    reliability = {each.id: each.weight * (2 + rank) for rank, each in enumerate(soft.neighbors)}
    reranker.answer = lambda request, context: weighing(**dict.fromkeys(IDS, 1.0))

    (both,) = gallery.classify(
        images=PICTURES[:1], reliability="soft", reliability_k=2, reranker="eyes"
    )

    assert {each.id: each.weight for each in both.neighbors} == pytest.approx(reliability)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ordering(*"abcde"), "left out 1 of 6 candidates"),
        (ordering(*"abcdef", "stranger"), "stranger"),
        (ordering(*"abcdeff"), "twice"),
        (weighing(a=-1.0), "weight -1"),
        (weighing(a=float("nan")), "weight nan"),
        (weighing(), "not above 0"),
        (weighing(g=1.0), "was not given"),
        (pb.RerankResponse(), "neither an order nor weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_answer_leaves_the_vote_as_it_was(
    gallery: Memory, reranker: Reranker, answer: pb.RerankResponse, says: str
) -> None:
    (before,) = gallery.classify(images=PICTURES[:1])
    reranker.answer = lambda request, context: answer

    (after,) = gallery.classify(images=PICTURES[:1], reranker="eyes")

    assert after.reranking is not None
    assert not after.reranking.applied
    assert says in after.reranking.problem
    assert (after.label, after.scores) == (before.label, before.scores)


def test_a_reranker_that_refuses_is_quoted(gallery: Memory, reranker: Reranker) -> None:
    def refuse(request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Come back tomorrow.")
        raise AssertionError

    reranker.answer = refuse

    (decision,) = gallery.classify(images=PICTURES[:1], reranker="eyes")

    assert decision.reranking is not None
    assert decision.reranking.problem == (
        'The re-ranker "eyes" failed with RESOURCE_EXHAUSTED: Come back tomorrow.'
    )


def seconds(act: Callable[[], object]) -> float:
    """Measure how long ``act`` takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def test_a_slow_reranker_is_left_within_its_time(gallery: Memory, reranker: Reranker) -> None:
    reranker.answer = never
    began = time.monotonic()

    decisions = gallery.classify(images=PICTURES, reranker="eyes", rerank_seconds=0.3)

    assert time.monotonic() - began < 10
    assert [decision.label for decision in decisions] == [
        decision.label for decision in gallery.classify(images=PICTURES)
    ]
    for decision in decisions:
        assert decision.reranking is not None
        assert "did not answer in time (0." in decision.reranking.problem


def test_the_deadline_of_the_call_bounds_all_of_it(
    start: Start, gallery: Memory, client: Client, reranker: Reranker
) -> None:
    reranker.answer = never
    timeout = 2.0 + 2 * seconds(lambda: gallery.classify(images=PICTURES, reranker="none"))
    with visual_memory.connect(client._transport.endpoint.target, timeout=timeout) as hasty:
        decisions = hasty.memory("gallery").classify(
            images=PICTURES, reranker="eyes", rerank_seconds=60
        )

    assert len(decisions) == 6
    assert all(each.reranking and not each.reranking.applied for each in decisions)


def test_large_pictures_do_not_keep_a_call_beyond_its_time(
    client: Client, reranker: Reranker
) -> None:
    large = client.create_memory("large", store_images=True)
    pictures = [to_picture(seed, (1600, 1600), "JPEG", quality=95) for seed in range(6)]
    large.insert(images=pictures, labels=["x"] * 6)
    large.set_reranker("eyes")
    reranker.answer = never
    timeout = 3.0 + 2 * seconds(lambda: large.classify(images=PICTURES * 3, reranker="none"))

    with visual_memory.connect(client._transport.endpoint.target, timeout=timeout) as hasty:
        decisions = hasty.memory("large").classify(images=PICTURES * 3, reranker="eyes")

    assert len(decisions) == 18
    assert all(each.reranking and not each.reranking.applied for each in decisions)


def test_without_time_nobody_is_asked(gallery: Memory, reranker: Reranker) -> None:
    (decision,) = gallery.classify(images=PICTURES[:1], reranker="eyes", rerank_seconds=0)

    assert reranker.asked == []
    assert decision.reranking is not None
    assert decision.reranking.problem == 'There was no time left to ask the re-ranker "eyes".'


def test_many_neighbours_are_not_shown(gallery: Memory, reranker: Reranker) -> None:
    with pytest.raises(InvalidArgument, match="k must be at most 1000 with a re-ranker") as refused:
        gallery.classify(images=PICTURES[:1], k=1001, reranker="eyes")
    gallery.set_reranker("eyes")
    (decision,) = gallery.classify(images=PICTURES[:1], k=1001)

    assert refused.value.field_violations[0][0] == "k"
    assert reranker.asked == []
    assert decision.reranking is not None
    assert "1000 neighbours at most, but k is 1001" in decision.reranking.problem


def test_the_nearest_are_shown_as_far_as_32_mib_go(client: Client, reranker: Reranker) -> None:
    picture = to_picture(1, (290, 290), "BMP")
    room = (32 << 20) // len(picture)
    assert room > 100
    many = client.create_memory("many", store_images=True)
    near = np.eye(1280)[:1] + np.linspace(0, 1, room + 20)[:, None] * np.eye(1280)[1:2]
    labels, ids = ["x"] * len(near), [f"{number:03}" for number in range(len(near))]
    many.insert(vectors=near, images=[picture] * len(near), labels=labels, ids=ids)

    (decision,) = many.classify(images=[picture], k=1000, reranker="eyes")

    shown = [bool(each.picture) for each in reranker.asked[0].candidates]
    assert shown == [True] * room + [False] * 20
    assert decision.reranking is not None
    assert decision.reranking.applied


def test_pictures_beyond_lowered_limits_are_not_shown(
    start: Start, tmp_path: Path, serving: tuple[Reranker, str], reranker: Reranker
) -> None:
    config = tmp_path / "server.toml"
    config.write_text("image_pixels_max = 400000\n")
    server = start(None, "--reranker", f"eyes={serving[1]}")
    with visual_memory.connect(server.address) as client:
        gallery = client.create_memory("gallery", store_images=True)
        large = to_picture(9, (900, 900))
        gallery.insert(images=[PICTURES[0], large], labels=["x", "y"], ids=["a", "large"])
    server.restart("--reranker", f"eyes={serving[1]}", "--config", str(config))

    with visual_memory.connect(server.address) as client:
        (decision,) = client.memory("gallery").classify(images=PICTURES[:1], reranker="eyes")

    assert decision.reranking is not None
    assert decision.reranking.applied
    assert {each.id: bool(each.picture) for each in reranker.asked[0].candidates} == {
        "a": True,
        "large": False,
    }


def test_a_failing_reranker_is_logged_without_what_it_says(
    start: Start, serving: tuple[Reranker, str], reranker: Reranker
) -> None:
    def refuse(request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        context.abort(grpc.StatusCode.INTERNAL, "secret")
        raise AssertionError

    server = start(None, "--reranker", f"eyes={serving[1]}")
    with visual_memory.connect(server.address) as client:
        gallery = client.create_memory("gallery", store_images=True)
        gallery.insert(images=PICTURES, labels=LABELS, ids=IDS)
        reranker.answer = refuse
        gallery.classify(images=PICTURES[:2], reranker="eyes")
    server.end()

    (event,) = [
        json.loads(line) for line in server.last_log.splitlines() if "not re-ranked" in line
    ]
    assert event["level"] == "warning"
    assert (event["memory"], event["reranker"]) == ("gallery", "eyes")
    assert event["queries"] == {"INTERNAL": 2}
    assert "secret" not in server.last_log


def test_a_reranker_on_this_machine_is_asked_past_any_proxy(
    start: Start,
    serving: tuple[Reranker, str],
    reranker: Reranker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = start(None, "--reranker", f"eyes={serving[1]}")

    with visual_memory.connect(server.address) as client:
        gallery = client.create_memory("gallery", store_images=True)
        gallery.insert(images=PICTURES, labels=LABELS, ids=IDS)
        (decision,) = gallery.classify(images=PICTURES[:1], reranker="eyes")

    assert decision.reranking == visual_memory.Reranking("eyes", True, "")


def test_a_reranker_that_is_down_is_named(gallery: Memory) -> None:
    (before,) = gallery.classify(images=PICTURES[:1])

    (after,) = gallery.classify(images=PICTURES[:1], reranker="down")

    assert after.reranking is not None
    assert '"down" failed with UNAVAILABLE' in after.reranking.problem
    assert after.scores == before.scores


def test_an_unknown_reranker_is_refused(gallery: Memory) -> None:
    with pytest.raises(NotFound, match="it asks down, eyes") as refused:
        gallery.classify(images=PICTURES[:1], reranker="nobody")
    with pytest.raises(NotFound):
        gallery.set_reranker("nobody")

    assert refused.value.field_violations[0][0] == "reranker"
    assert gallery.info().reranker is None


def test_reranking_needs_pictures(client: Client, gallery: Memory) -> None:
    plain = client.create_memory("plain")
    plain.insert(images=PICTURES[:1], labels=["x"])

    with pytest.raises(FailedPrecondition, match="keeps no pictures"):
        plain.classify(images=PICTURES[:1], reranker="eyes")
    with pytest.raises(FailedPrecondition, match="keeps no pictures"):
        plain.set_reranker("eyes")
    with pytest.raises(InvalidArgument, match="queries are vectors"):
        gallery.classify(vectors=gallery.embed(PICTURES[:1]), reranker="eyes")


def test_the_memory_s_own_reranker_is_asked_unless_told_otherwise(
    gallery: Memory, reranker: Reranker
) -> None:
    assert gallery.set_reranker("eyes").reranker == "eyes"

    (own,) = gallery.classify(images=PICTURES[:1])
    (nobody,) = gallery.classify(images=PICTURES[:1], reranker="none")
    (other,) = gallery.classify(images=PICTURES[:1], reranker="down")
    (blind,) = gallery.classify(vectors=gallery.embed(PICTURES[:1]))

    assert own.reranking is not None
    assert own.reranking.applied
    assert nobody.reranking is None
    assert other.reranking is not None
    assert other.reranking.reranker == "down"
    assert blind.reranking is not None
    assert blind.reranking.problem == "A query that is a vector has no picture to look at."
    assert gallery.set_reranker(None).reranker is None
    assert gallery.classify(images=PICTURES[:1])[0].reranking is None


def test_the_memory_s_reranker_is_kept_and_may_be_gone_after_a_restart(
    start: Start, tmp_path: Path, serving: tuple[Reranker, str], reranker: Reranker
) -> None:
    server = start(None, "--reranker", f"eyes={serving[1]}")
    with visual_memory.connect(server.address) as client:
        gallery = client.create_memory("gallery", store_images=True)
        gallery.insert(images=PICTURES, labels=LABELS, ids=IDS)
        gallery.set_reranker("eyes")
    server.restart()

    with visual_memory.connect(server.address) as client:
        (decision,) = client.memory("gallery").classify(images=PICTURES[:1])
        assert client.memory("gallery").info().reranker == "eyes"

    assert decision.reranking is not None
    assert 'does not ask a re-ranker "eyes"; it asks none' in decision.reranking.problem


def test_reranked_votes_cannot_carry_what_was_calibrated_for_others(gallery: Memory) -> None:
    for wish in ({"calibrated": True}, {"coverage": 0.9}):
        with pytest.raises(InvalidArgument, match="other votes than those that were calibrated"):
            gallery.classify(images=PICTURES[:1], reranker="eyes", **wish)


def test_a_taxonomy_sums_reranked_votes(gallery: Memory, reranker: Reranker) -> None:
    gallery.set_taxonomy({"x": "letter", "y": "letter", "letter": "thing", "z": "thing"})
    reranker.answer = lambda request, context: weighing(a=1.0, d=1.0)

    (decision,) = gallery.classify(images=PICTURES[:1], reranker="eyes", min_confidence=0.9)

    assert decision.node is not None
    assert decision.node.name == "letter"


def test_many_queries_come_back_in_order(gallery: Memory, reranker: Reranker) -> None:
    def pause(request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        time.sleep(0.02 * (PICTURES.index(request.picture) % 3))
        return weighing(**{IDS[PICTURES.index(request.picture)]: 1.0})

    reranker.answer = pause

    decisions = gallery.classify(images=PICTURES * 3, reranker="eyes")

    assert [decision.neighbors.ids[0] for decision in decisions] == IDS * 3
    assert [decision.label for decision in decisions] == LABELS * 3


def test_a_candidate_without_a_picture_is_shown_without(client: Client, reranker: Reranker) -> None:
    mixed = client.create_memory("mixed", store_images=True)
    mixed.insert(images=PICTURES[:1], labels=["x"], ids=["a"])
    mixed.insert(vectors=np.ones((1, 1280)), labels=["y"], ids=["b"])

    mixed.classify(images=PICTURES[:1], reranker="eyes")

    assert {each.id: each.picture for each in reranker.asked[0].candidates} == {
        "a": PICTURES[0],
        "b": b"",
    }


def test_the_server_says_which_rerankers_it_asks(client: Client) -> None:
    assert client.server_info().rerankers == ["down", "eyes"]
