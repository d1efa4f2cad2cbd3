"""More load than a server can take: other clients still get their answers.

``OVERLOAD=1`` is the full load: 5,000 calls at once, 16 messages of 120 MiB, 520 silent streams.
"""

from __future__ import annotations

import os
import queue
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import OPTIONS, SECONDS, Server, to_batch, to_vectors

import visual_memory
from visual_memory import errors
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

if TYPE_CHECKING:
    from tests.conftest import Start

SCALE = float(os.environ.get("OVERLOAD", "0.1"))
CALLS, STORM_SECONDS, SENDERS = max(1250, int(5000 * SCALE)), 8 * SCALE, 16
STREAMS, DIMENSION, MEBIBYTE = int(520 * SCALE), 1024, 1 << 20
ANSWERED = ""
QUESTION = pb.ClassifyRequest(memory="pets", k=5, vectors=to_vectors(np.ones(DIMENSION)))
TOLD = ("OVERLOADED", "TOO_LARGE")
HEAP = 256 * MEBIBYTE + 100_000_000  # kept freed by runtime/heap.py, and threads' own heaps


def outcome(call: Any) -> str:
    """Return the reason of a call's refusal, or gRPC's code; ANSWERED if it was not refused."""
    error = call.exception()
    if error is None:
        return ANSWERED
    assert isinstance(error, grpc.RpcError)
    return errors.from_rpc(error, "the server").reason or str(error.code())


def ask(stub: VisualMemoryStub, seconds: float) -> Any:
    """Classify one vector, with the metadata that the Python client sends."""
    said = (("message-bytes", str(QUESTION.ByteSize())),)
    return stub.Classify.future(QUESTION, timeout=seconds, metadata=said)


@contextmanager
def bystander(server: Server) -> Iterator[Counter[str]]:
    """Context manager: another client asks meanwhile, with 30 s for each call; count outcomes."""
    came, over = Counter[str](), threading.Event()

    def go_on() -> None:
        with grpc.insecure_channel(server.address, options=OPTIONS) as channel:
            stub = VisualMemoryStub(channel)
            while not over.is_set():
                came[outcome(ask(stub, 30))] += 1

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        yield came
    finally:
        over.set()
        asking.join()


def served(start: Start, tmp_path: Path, **settings: object) -> Server:
    """Start a server with these settings and a memory of a thousand vectors."""
    config = tmp_path / "server.toml"
    config.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    server = start(None, "--config", str(config))
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=DIMENSION))
    rows = np.random.default_rng(0).normal(size=(1000, DIMENSION))
    batch = to_batch(rows, [f"{number}" for number in range(len(rows))])
    server.stub.InsertEntries(pb.InsertEntriesRequest(memory="pets", batch=batch))
    return server


def test_all_calls_of_a_burst_are_answered_and_those_of_others(
    start: Start, tmp_path: Path
) -> None:
    server = served(start, tmp_path)

    with bystander(server) as others:
        burst = [ask(server.stub, 120) for _ in range(CALLS)]
        came = Counter(map(outcome, burst))

    assert set(others) == {ANSWERED}
    assert came == {ANSWERED: CALLS}


def test_a_storm_of_calls_that_are_given_up_at_once_costs_others_nothing(
    start: Start, tmp_path: Path
) -> None:
    server, end = served(start, tmp_path), time.monotonic() + STORM_SECONDS

    with bystander(server) as others:
        while time.monotonic() < end:
            for call in [ask(server.stub, 0.001) for _ in range(1000)]:
                outcome(call)

    assert set(others) == {ANSWERED}


def resident(server: Server) -> int:
    """Return the resident memory of the server in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


@contextmanager
def most_resident(server: Server) -> Iterator[list[int]]:
    """Context manager: measure the server's most resident memory, in bytes."""
    most, over = [resident(server)], threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            most[0] = max(most[0], resident(server))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        over.set()
        looking.join()


def search_for(size: int) -> bytes:
    """Return a search of about ``size`` bytes, with many queries."""
    rows = np.random.default_rng(1).normal(size=(size // (4 * DIMENSION), DIMENSION))
    return pb.SearchRequest(memory="pets", k=1, vectors=to_vectors(rows)).SerializeToString()


def insert(size: int) -> bytes:
    """Return an insertion of about ``size`` bytes of zeros, to be refused after it is read."""
    rows = np.zeros((size // (4 * DIMENSION), DIMENSION))
    batch = to_batch(rows, [f"{number}" for number in range(len(rows))])
    request = pb.InsertEntriesRequest(memory="pets", batch=batch)
    return request.SerializeToString()


def embed(size: int) -> bytes:
    """Return a request with ``size`` bytes of images, for a memory without an embedder."""
    images = entry_pb2.Images(data=[bytes(size // 4)] * 4)
    return pb.EmbedRequest(memory="pets", images=images).SerializeToString()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("call", "message", "limit", "one_connection"),
    [
        ("Search", search_for, 0.5, False),
        ("Search", search_for, 1.1, False),
        ("InsertEntries", insert, 1.1, True),
        ("Embed", embed, 1.1, False),
    ],
)
def test_large_messages_at_once_take_no_more_ram_than_they_may(
    start: Start, tmp_path: Path, call: str, message: Any, limit: float, one_connection: bool
) -> None:
    size, pending = int(120 * SCALE) * MEBIBYTE, int(512 * SCALE) * MEBIBYTE
    server = served(
        start,
        tmp_path,
        message_bytes_max=int(limit * size) + MEBIBYTE,
        pending_bytes_max=pending,
    )
    data, rest = message(size), resident(server)

    def send(number: int) -> str:
        with ExitStack() as own:
            channel = server.channel
            if not one_connection:
                channel = own.enter_context(grpc.insecure_channel(server.address, options=OPTIONS))
            method: Any = channel.unary_unary(f"/visual_memory.v1.VisualMemory/{call}")
            return outcome(method.future(data, timeout=300))

    with (
        bystander(server) as others,
        most_resident(server) as most,
        ThreadPoolExecutor(SENDERS) as threads,
    ):
        came = Counter(threads.map(send, range(SENDERS)))

    print(f"{call}: {(most[0] - rest) / 1e6:.0f} MB above {rest / 1e6:.0f} MB; {dict(came)}")
    assert set(others) - {ANSWERED} <= {"OVERLOADED"}
    assert others[ANSWERED]
    assert set(came) <= {*TOLD, ANSWERED, "BAD_FIELD", "NO_EMBEDDER"}
    assert most[0] - rest <= pending + HEAP


def silent_streams(server: Server, count: int, closing: ExitStack) -> list[Any]:
    """Begin imports that send nothing more, a hundred on each connection."""
    begun = []
    for number in range(count):
        if not number % 100:
            channel = closing.enter_context(grpc.insecure_channel(server.address, options=OPTIONS))
        steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
        start = pb.ImportStart(memory="pets", request_id=f"r{number}")
        steps.put(pb.ImportEntriesRequest(start=start))
        stream = VisualMemoryStub(channel).ImportEntries(iter(steps.get, None))
        closing.callback(steps.put, None)
        begun.append(stream)
    return begun


def test_streams_of_which_nothing_is_heard_make_room_for_others(
    start: Start, tmp_path: Path
) -> None:
    server = served(start, tmp_path, calls_max=STREAMS - 8)

    with ExitStack() as closing:
        streams = silent_streams(server, STREAMS, closing)
        for stream in streams[: STREAMS - 8]:
            next(stream)
        answered = outcome(ask(server.stub, 30))
        ended = sum(stream.done() for stream in streams)

    assert answered == ANSWERED
    assert ended >= 1


def limited(tmp_path: Path, descriptors: int, log: IO[str] | None = None) -> subprocess.Popen[str]:
    """Start a server that may open only ``descriptors`` files, and that ends by itself."""
    program = (
        "import os, resource, signal, sys;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}));"
        f"signal.alarm({5 * SECONDS}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    serve = ["-m", "visual_memory_service", "serve", "--data", str(tmp_path / "data")]
    return subprocess.Popen(
        [sys.executable, "-c", program, *serve, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )


@pytest.mark.parametrize("sent", [b"", b"PRI * HTTP/2.0\r\n"], ids=["nothing", "half a preface"])
def test_connections_that_say_nothing_keep_nobody_out(tmp_path: Path, sent: bytes) -> None:
    with limited(tmp_path, 256) as server, ExitStack() as closing:
        assert server.stdout is not None
        address = server.stdout.readline().removeprefix("listening on ").strip()
        host, _, port = address.rpartition(":")
        for _ in range(256):
            idle = closing.enter_context(socket.create_connection((host, int(port))))
            idle.sendall(sent)
        try:
            with visual_memory.connect(address, timeout=30) as client:
                pets = client.create_memory("pets", dimension=2)
                pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])
                decision = pets.classify(vectors=[[1.0, 0.0]])[0]
        finally:
            server.terminate()

    assert decision.label == "cat"
    assert server.returncode == 0


def test_memories_for_which_files_lack_are_opened_when_asked_and_leave_some_to_the_server(
    start: Start, tmp_path: Path
) -> None:
    server = start(tmp_path / "data")
    names = [f"pets-{number:02}" for number in range(60)]
    with visual_memory.connect(server.address) as client:
        for name in names:
            client.create_memory(name, dimension=2)
    assert server.end() == 0

    with limited(tmp_path, 100) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        try:
            with visual_memory.connect(address, timeout=30) as client:
                counts = [client.memory(name).info().count for name in names]
                pets = client.memory(names[0])
                pets.insert(vectors=[[1.0, 0.0]], labels=["cat"], ids=["a"])
                certificate = pets.unlearn(["a"])
        finally:
            process.terminate()

    assert counts == [0] * len(names)
    assert len(certificate.searched) == 2
    assert process.returncode == 0


def test_a_server_opens_as_many_files_as_the_system_allows(start: Start) -> None:
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(few, 256), most))
    try:
        server = start()
        allowed, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))

    assert allowed == min(most, 65_536)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_all_neighbours_of_many_queries_are_answered_piece_by_piece(
    start: Start, tmp_path: Path
) -> None:
    server, generator = start(), np.random.default_rng(0)
    queries, bound = max(250, int(2000 * SCALE**1.5)), 512 * MEBIBYTE + 500e6
    with visual_memory.connect(server.address) as client:
        client.create_memory("pets", dimension=4)
        pets = client.memory("pets")
        pets.insert(vectors=generator.normal(size=(5000, 4)), labels=["cat"] * 5000)
        rest = resident(server)

        with most_resident(server) as most:
            began = time.monotonic()
            found = pets.search(vectors=generator.normal(size=(queries, 4)), k=10**9)

    print(f"{(most[0] - rest) / 1e6:.0f} MB above rest, {time.monotonic() - began:.0f} s")
    assert {len(each) for each in found} == {5000}
    assert most[0] - rest <= bound * max(SCALE, 0.4)
