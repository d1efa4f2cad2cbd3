"""Every call passes one interceptor, which refuses unreadable messages in our own words."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.conftest import Server, refusal, to_batch
from tests.service.wire.test_listener import BOUNDS

import visual_memory
from visual_memory.errors import Error, from_rpc
from visual_memory.v1 import open_inference_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.wire.admission import AdmissionControl
from visual_memory_service.wire.calls import at_end
from visual_memory_service.wire.connections import Connections
from visual_memory_service.wire.interceptors import CallInterceptor

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Start

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SERVICE = "/visual_memory.v1.VisualMemory"


def every_method(server: Server) -> list[MethodDescriptor]:
    """Return the methods of all services that the server lists."""
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]))
    pool = descriptor_pool.Default()  # has what is imported
    assert open_inference_pb2.DESCRIPTOR.pool is pool
    services = [pool.FindServiceByName(it.name) for it in answer.list_services_response.service]
    return [method for service in services for method in service.methods]


def ask(server: Server, method: MethodDescriptor) -> None:
    """Send an empty message, and end after the first answer or error."""
    requests = "stream" if method.client_streaming else "unary"
    responses = "stream" if method.server_streaming else "unary"
    path = f"/{method.containing_service.full_name}/{method.name}"
    call = getattr(server.channel, f"{requests}_{responses}")(path)
    with suppress(grpc.RpcError):
        answer = call(iter([b""]) if method.client_streaming else b"")
        if method.server_streaming:
            next(answer, None)
            answer.cancel()


def test_every_call_of_every_service_passes_one_point(start: Start) -> None:
    server = start(None, "--log-level", "debug")
    methods = every_method(server)

    for method in methods:
        ask(server, method)

    assert server.end() == 0
    events = [json.loads(line) for line in server.last_log.splitlines()]
    asked = Counter(method.name for method in methods) + Counter({"ServerReflectionInfo": 1})
    assert Counter(event["method"] for event in events if "milliseconds" in event) == asked
    assert {method.containing_service.name for method in methods} == {
        "VisualMemory",
        "GRPCInferenceService",
        "Health",
        "ServerReflection",
    }
    assert len({(method.client_streaming, method.server_streaming) for method in methods}) == 4


def large(pets: RemoteMemory) -> pb.InsertEntriesRequest:
    """Return a request of a little more than 64 MiB."""
    request = pb.InsertEntriesRequest(memory=pets.name, batch=to_batch(np.eye(4)[:1], ["x"]))
    request.batch.vectors.data = bytes(64 * 2**20)
    return request


def test_a_message_that_is_too_large_is_told_how_to_split_it(pets: RemoteMemory) -> None:
    before = pets.stored()

    error = refusal(pets.stub.InsertEntries, large(pets))

    assert (error.code, error.reason) == (INVALID, "TOO_LARGE")
    assert "at most 67108864 are read; split the batch into several messages" in error.message
    assert pets.stored() == before


def test_a_batch_of_an_import_that_is_too_large_is_refused_alike(pets: RemoteMemory) -> None:
    before = pets.stored()
    start = pb.ImportStart(memory=pets.name, request_id="large")
    steps = [
        pb.ImportEntriesRequest(start=start),
        pb.ImportEntriesRequest(batch=pb.ImportBatch(batch=large(pets).batch)),
    ]

    error = refusal(lambda: list(pets.stub.ImportEntries(iter(steps))))

    assert (error.code, error.reason) == (INVALID, "TOO_LARGE")
    assert pets.stored() == before


def test_the_largest_message_is_read(pets: RemoteMemory) -> None:
    request = large(pets)
    request.batch.vectors.data = bytes(64 * 2**20 - request.ByteSize() % 2**20 - 100)

    error = refusal(pets.stub.InsertEntries, request)

    assert error.reason != "TOO_LARGE"


@pytest.mark.parametrize(
    "data", [b"\xff\xff", b"\x0a\x05abc", b"\x0a\x02\xff\xfe"], ids=["tag", "length", "UTF-8"]
)
@pytest.mark.parametrize("call", ["InsertEntries", "Classify", "CreateMemory", "DeleteEntries"])
def test_bytes_of_no_message_are_refused(pets: RemoteMemory, call: str, data: bytes) -> None:
    before = pets.stored()
    method: Any = pets.server.channel.unary_unary(f"{SERVICE}/{call}")

    error = refusal(method, data)

    assert (error.code, error.reason) == (INVALID, "BAD_FIELD")
    assert "not one of this call's protobuf type" in error.message
    assert pets.stored() == before


def test_a_call_that_ends_without_its_message_is_refused(server: Server) -> None:
    for method in every_method(server):
        if method.client_streaming:
            continue
        path = f"/{method.containing_service.full_name}/{method.name}"
        call: Any = server.channel.stream_stream(path)  # so that no message can be left out

        error = refusal(lambda call: list(call(iter(()), timeout=5)), call)

        assert (error.code, error.reason) == (INVALID, "BAD_FIELD"), path
        assert error.message == "The message must be sent before the call is half-closed."


def test_bytes_of_no_message_end_an_import(pets: RemoteMemory) -> None:
    method: Any = pets.server.channel.stream_stream(f"{SERVICE}/ImportEntries")

    error = refusal(lambda: list(method(iter([b"\xff\xff"]))))

    assert (error.code, error.reason) == (INVALID, "BAD_FIELD")


def test_a_log_that_cannot_be_written_fails_no_call(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "visual_memory_service", "serve", "--log-level", "debug"]
    serve += ["--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=full, text=True) as server,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().removeprefix("listening on ").strip()
        with visual_memory.connect(address) as client:
            pets = client.create_memory("pets", dimension=2)
            with pytest.raises(visual_memory.NotFound):
                pets.get("a")
        server.terminate()

    assert server.returncode == 0


@asynccontextmanager
async def guarding(handler: Any, connections: Connections) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server whose one method, /a/b, has a handler in a call scope."""
    server = grpc.aio.server(interceptors=[CallInterceptor(AdmissionControl(BOUNDS), connections)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a", {"b": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def refused_once(behaviour: Any, connections: Connections) -> Error:
    """Return the error that a method with this behaviour answers with."""
    handler = grpc.unary_unary_rpc_method_handler(behaviour, bytes, bytes)
    async with guarding(handler, connections) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await channel.unary_unary("/a/b", bytes, bytes)(b"")
    return from_rpc(caught.value, "the server")


def test_all_that_a_call_held_is_given_back_though_some_of_it_fails() -> None:
    connections, given_back = Connections(), list[str]()

    def fail() -> None:
        raise KeyError("of the end")

    async def answer(request: bytes, context: Any) -> bytes:
        at_end.get().callback(given_back.append, "first")
        at_end.get().callback(fail)
        return b""

    error = asyncio.run(refused_once(answer, connections))

    assert (error.reason, given_back, connections._calls) == ("SERVICE_FAILED", ["first"], 0)


def test_a_stream_ends_before_its_scope() -> None:
    ended = list[str]()

    async def answers(request: bytes, context: Any) -> AsyncIterator[bytes]:
        at_end.get().callback(ended.append, "scope")
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            ended.append("answers")

    async def broken_off() -> None:
        handler = grpc.unary_stream_rpc_method_handler(answers, bytes, bytes)
        async with guarding(handler, Connections()) as channel:
            call = channel.unary_stream("/a/b", bytes, bytes)(b"")
            await call.read()
            await asyncio.sleep(0.2)  # until nothing more can be sent
            call.cancel()
            while len(ended) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(broken_off(), 30))

    assert ended == ["answers", "scope"]


def test_what_nobody_foresaw_is_told_without_its_words() -> None:
    async def fail(request: bytes, context: Any) -> bytes:
        raise KeyError("a secret")

    error = asyncio.run(refused_once(fail, Connections()))

    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "SERVICE_FAILED")
    assert error.message == "The service failed on its own side; its log says why."


def test_an_unknown_call_is_unimplemented(pets: RemoteMemory) -> None:
    error = refusal(pets.server.channel.unary_unary(f"{SERVICE}/Nothing"), b"")

    assert error.code is grpc.StatusCode.UNIMPLEMENTED


def test_the_client_splits_what_one_message_does_not_hold(empty: RemoteMemory) -> None:
    rows = np.random.default_rng(0).normal(size=(10_500, 4))
    ids = [f"{number:05}" for number in range(len(rows))]

    with visual_memory.connect(empty.server.address) as client:
        memory = client.memory(empty.name)
        with pytest.raises(visual_memory.InvalidArgument, match="atomic"):
            memory.insert(vectors=rows, labels=["x"] * len(rows), ids=ids, atomic=True)
        assert empty.stored() == []

        result = memory.insert(vectors=rows, labels=["x"] * len(rows), ids=ids)

    assert result.ids == ids == empty.ids()


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of small messages that takes one large message at a time."""
    folder = tmp_path_factory.mktemp("bounded")
    (folder / "server.toml").write_text(f"pending_bytes_max = 1\nmessage_bytes_max = {2**20}\n")
    server = Server(folder / "data", "--config", str(folder / "server.toml"))
    yield server
    assert server.end() == 0


def test_what_is_beyond_the_limit_of_all_calls_is_refused_and_may_come_again(
    bounded: Server,
) -> None:
    def insert(number: int) -> str:
        request = pb.InsertEntriesRequest(memory="large", batch=to_batch(rows, [f"{number}"]))
        try:
            bounded.stub.InsertEntries(request)
        except grpc.RpcError as error:
            refused = visual_memory.errors.from_rpc(error, "the server")
            assert isinstance(refused, visual_memory.ResourceExhausted)
            return refused.reason
        return ""

    rows = np.ones((1, 16_384))
    bounded.stub.CreateMemory(pb.CreateMemoryRequest(name="large", dimension=16_384))
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(insert, range(400)))
    with visual_memory.connect(bounded.address) as client:
        stored = {entry.id for entry in client.memory("large").entries()}

    assert {"", "OVERLOADED"} == set(answers)
    assert stored == {f"{number}" for number, answer in enumerate(answers) if not answer}
    assert insert(400) == ""


def test_a_stream_that_breaks_off_is_not_counted_any_more(bounded: Server) -> None:
    method: Any = bounded.channel.stream_stream(f"{SERVICE}/ImportEntries")
    large = "x" * 70_000  # what is small is taken in any case
    unknown = pb.ImportEntriesRequest(start=pb.ImportStart(memory=large, request_id="r"))

    def broken(data: bytes) -> str:
        return refusal(lambda: list(method(iter([data])))).reason

    assert broken(b"\xff" * 70_000) == "BAD_FIELD"
    assert broken(unknown.SerializeToString()) == "UNKNOWN_MEMORY"
    assert (
        refusal(bounded.stub.GetMemory, pb.GetMemoryRequest(name=large)).reason == "UNKNOWN_MEMORY"
    )


def test_health_and_what_can_never_be_read_are_told_under_any_load(bounded: Server) -> None:
    stub = bounded.stub
    stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=4))
    steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
    steps.put(pb.ImportEntriesRequest(start=pb.ImportStart(memory="pets", request_id="r")))
    importing = stub.ImportEntries(iter(steps.get, None))
    next(importing)

    overloaded = refusal(stub.GetMemory, pb.GetMemoryRequest(name="x" * 70_000)).reason
    too_large = refusal(stub.GetMemory, pb.GetMemoryRequest(name="x" * (2**20 + 1))).reason
    health = health_pb2_grpc.HealthStub(bounded.channel).Check(health_pb2.HealthCheckRequest())

    steps.put(None)
    list(importing)
    assert (overloaded, too_large) == ("OVERLOADED", "TOO_LARGE")
    assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("value", [0.0, 1.0], ids=["when read", "when written"])
def test_refused_messages_leave_nothing_in_ram(start: Start, value: float) -> None:
    server, rows = start(), np.full((9_000, 1024), value, "<f4")  # so large: not from a heap
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=1024))
    ids = [f"{number}" for number in range(len(rows))]
    server.stub.InsertEntries(
        pb.InsertEntriesRequest(memory="pets", batch=to_batch(np.ones((1, 1024)), ids[-1:]))
    )
    request = pb.InsertEntriesRequest(memory="pets", batch=to_batch(rows, ids))
    refused, sizes = set[str](), list[int]()

    for _ in range(12):
        refused.add(refusal(server.stub.InsertEntries, request).reason)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        sizes.append(int(status.partition("VmRSS:")[2].split()[0]) * 1024)

    assert refused == {"ENTRIES_EXIST" if value else "BAD_FIELD"}
    grown = min(sizes[-3:]) - max(sizes[:2])
    assert grown < 5 * request.ByteSize()  # were all kept, 8 and more; some are freed late
