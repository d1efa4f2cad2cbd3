"""A re-ranker in a process of its own, from its first line to its last."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.conftest import refusal, to_picture
from tests.service.rerankers.conftest import ChatSpeaker, Handler, gives, says

from visual_memory.v1 import reranker_pb2 as pb
from visual_memory_service.convert.reranking import from_candidates, to_ranking
from visual_memory_service.decisions.reranking import Candidate
from visual_memory_service.rerankers.server import CALLS_AT_ONCE

if TYPE_CHECKING:
    from tests.service.rerankers.conftest import Reranker, Start

SERVICE = "visual_memory.v1.Reranker"
KEY = "sk-very-secret"
THREE = [Candidate(f"id{at}", f"label{at}", 0.1 * at, to_picture(at)) for at in range(3)]


def question(picture: bytes | None = None) -> pb.RerankRequest:
    return from_candidates(picture or to_picture(9), THREE)


@pytest.fixture
def chat(start: Start, speaker: ChatSpeaker) -> Reranker:
    """A re-ranker that asks ``speaker``."""
    arguments = ["chat", "--url", speaker.url, "--model", "m", "--log-level", "debug"]
    return start(*arguments, VISUAL_MEMORY_CHAT_KEY=KEY)


class Held:
    """An answer that waits until it is released."""

    def __init__(self, speaker: ChatSpeaker) -> None:
        self._released = threading.Event()
        speaker.answer = self._answer

    def release(self) -> None:
        self._released.set()

    def _answer(self, handler: Handler) -> None:
        self._released.wait(30)
        says("[3, 2, 1]")(handler)


@pytest.fixture
def held(speaker: ChatSpeaker) -> Iterator[Held]:
    held = Held(speaker)
    yield held
    held.release()


def test_candidates_come_back_in_the_order_of_the_model(
    chat: Reranker, speaker: ChatSpeaker
) -> None:
    speaker.answer = says("[2, 3, 1]")

    response = chat.stub.Rerank(question())

    assert to_ranking(response, THREE) == ["id1", "id2", "id0"]
    assert speaker.sent.get_nowait().headers["Authorization"] == f"Bearer {KEY}"


def test_a_field_at_fault_is_named(chat: Reranker) -> None:
    damaged = question()
    damaged.candidates[1].picture = b"no picture"

    error = refusal(chat.stub.Rerank, damaged)
    query = refusal(chat.stub.Rerank, question(b"no picture"))
    nothing = refusal(chat.stub.Rerank, pb.RerankRequest())

    assert error.code is query.code is nothing.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.field_violations[0][0] == "candidates[1].picture"
    assert query.field_violations[0][0] == "picture"
    assert nothing.field_violations[0][0] == "picture"


def test_a_chat_server_that_fails_is_unavailable(chat: Reranker, speaker: ChatSpeaker) -> None:
    speaker.answer = gives(f"key {KEY} is bad".encode(), 500)

    error = refusal(chat.stub.Rerank, question())

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "CHAT_UNAVAILABLE")
    assert error.message == (
        f"The chat server at {speaker.host} answered with status 500 (Internal Server Error)."
    )


def test_a_chat_server_that_is_not_there_is_unavailable(start: Start) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        alone = start("chat", "--url", f"http://{host}/v1", "--model", "m")

        error = refusal(alone.stub.Rerank, question())

    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert error.message == f"The chat server at {host} cannot be reached: Connection refused."


def test_an_answer_that_is_no_order_is_internal(chat: Reranker, speaker: ChatSpeaker) -> None:
    speaker.answer = says("I like cats.")

    error = refusal(chat.stub.Rerank, question())

    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "BAD_CHAT_ANSWER")
    assert error.message.endswith('with 0 arrays of numbers instead of one: "I like cats.".')


# Time


def test_its_own_timeout_ends_the_wait(start: Start, speaker: ChatSpeaker, held: Held) -> None:
    url = ["--url", speaker.url, "--model", "m"]
    hasty = start("chat", *url, "--chat-timeout", "0.2")

    error = refusal(lambda: hasty.stub.Rerank(question(), timeout=30))

    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert error.message == f"The chat server at {speaker.host} did not answer within 0.2 s."


def test_the_deadline_of_the_call_ends_the_wait(
    chat: Reranker, speaker: ChatSpeaker, held: Held
) -> None:
    hung_up = threading.Event()

    def until_hung_up(handler: Handler) -> None:
        if not handler.rfile.read(1):
            hung_up.set()

    speaker.answer = until_hung_up

    error = refusal(lambda: chat.stub.Rerank(question(), timeout=1.5))

    # Whose clock is a little ahead says it first.
    assert error.code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    assert hung_up.wait(10)  # long before the 30 s of --chat-timeout


def test_a_call_whose_deadline_passes_while_it_waits_for_its_turn_is_not_worked_on(
    chat: Reranker, speaker: ChatSpeaker, held: Held
) -> None:
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        calls = [pool.submit(chat.stub.Rerank, question()) for _ in range(CALLS_AT_ONCE)]
        for _ in calls:
            speaker.sent.get(timeout=30)

        error = refusal(lambda: chat.stub.Rerank(question(), timeout=0.3))
        held.release()

        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert [list(call.result().order.ids) for call in calls] == [
            ["id2", "id1", "id0"]
        ] * CALLS_AT_ONCE
    chat.stub.Rerank(question())
    speaker.sent.get_nowait()
    assert speaker.sent.empty()


# The process


def test_it_is_healthy_and_knows_its_protos(chat: Reranker) -> None:
    health = health_pb2_grpc.HealthStub(chat.channel)
    states = [
        health.Check(health_pb2.HealthCheckRequest(service=name)).status for name in ("", SERVICE)
    ]
    reflection = reflection_pb2_grpc.ServerReflectionStub(chat.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, file = reflection.ServerReflectionInfo(iter(requests))

    assert states == [health_pb2.HealthCheckResponse.SERVING] * 2
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert file.file_descriptor_response.file_descriptor_proto


def test_sigterm_lets_calls_under_way_be_answered(
    chat: Reranker, speaker: ChatSpeaker, held: Held
) -> None:
    call = chat.stub.Rerank.future(question())
    speaker.sent.get(timeout=30)

    chat.process.send_signal(signal.SIGTERM)
    while "draining" not in chat.log():
        time.sleep(0.01)
    held.release()

    assert list(call.result().order.ids) == ["id2", "id1", "id0"]
    assert chat.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_one_ends_at_once(chat: Reranker, number: int) -> None:
    began = time.monotonic()

    assert chat.end(number) == 0

    assert time.monotonic() - began < 10


def test_logs_are_one_json_object_a_line_and_hold_no_content(
    chat: Reranker, speaker: ChatSpeaker
) -> None:
    chat.stub.Rerank(question())
    speaker.answer = gives(KEY.encode(), 401)
    refusal(chat.stub.Rerank, question())

    chat.end()

    events = [json.loads(line)["event"] for line in chat.last_log.splitlines()]
    assert events == ["serving", "answered", "refused", "draining", "stopped"]
    assert not any(secret in chat.last_log for secret in (KEY, "id0", "label0"))
