"""Health is reported to all watchers, up to the end."""

from __future__ import annotations

import queue
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.conftest import Server, refusal

import visual_memory
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

IDS = [f"the picture with the number {number}" for number in range(4)]
SERVICE = "visual_memory.v1.VisualMemory"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def health(server: Server, name: str) -> Any:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=name)).status


@pytest.mark.parametrize("name", ["", SERVICE])
def test_the_server_is_healthy(server: Server, name: str) -> None:
    assert health(server, name) == SERVING


@pytest.mark.parametrize("name", ["memories/nowhere", "漢" * 20_000])
def test_the_health_of_what_is_not_there_is_not_found(server: Server, name: str) -> None:
    assert refusal(health, server, name).code is grpc.StatusCode.NOT_FOUND


def test_a_memory_is_healthy_from_its_creation_to_its_end(server: Server) -> None:
    name = f"m{uuid.uuid4().hex}"
    stub = health_pb2_grpc.HealthStub(server.channel)
    states = stub.Watch(health_pb2.HealthCheckRequest(service=f"memories/{name}"), timeout=20)
    assert next(states).status == UNKNOWN

    server.stub.CreateMemory(pb.CreateMemoryRequest(name=name, dimension=4))
    assert health(server, f"memories/{name}") == SERVING
    assert next(states).status == SERVING
    server.stub.DeleteMemory(pb.DeleteMemoryRequest(name=name))

    assert next(states).status == NOT_SERVING
    assert health(server, f"memories/{name}") == NOT_SERVING
    states.cancel()


def test_a_memory_is_healthy_after_a_restart(start: Start) -> None:
    server = start()
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=4))

    server.restart()

    assert health(server, "memories/pets") == SERVING


def test_neither_a_watch_nor_a_question_for_protos_holds_up_an_erasure(start: Start) -> None:
    server = start()
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
    questions: queue.SimpleQueue[Any] = queue.SimpleQueue()
    questions.put(reflection_pb2.ServerReflectionRequest(list_services=""))
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    answers = stub.ServerReflectionInfo(iter(questions.get, None))
    assert (next(watch).status, next(answers).WhichOneof("message_response")) == (
        SERVING,
        "list_services_response",
    )

    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", dimension=4)
        pets.insert(vectors=np.eye(4), labels=["a label of it"] * 4, ids=[*IDS])
        began = time.monotonic()
        pets.unlearn([IDS[0]])

    assert time.monotonic() - began < 15
    assert (list(watch), list(answers)) == ([], [])
    assert health(server, "") == SERVING
    assert server.end() == 0


@pytest.mark.parametrize("name", ["", "memories/nowhere"])
def test_one_that_watches_is_told_of_the_end_and_does_not_hold_it_up(
    start: Start, name: str
) -> None:
    server = start()
    stub = health_pb2_grpc.HealthStub(server.channel)
    states = stub.Watch(health_pb2.HealthCheckRequest(service=name))
    assert next(states).status in (SERVING, UNKNOWN)
    began = time.monotonic()

    server.process.send_signal(signal.SIGTERM)

    assert {state.status for state in states} == {NOT_SERVING}
    assert server.wait() == 0
    assert time.monotonic() - began < 10
