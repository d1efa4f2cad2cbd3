"""Calls wait for a place, and what their messages hold is counted before they are received."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import refusal, to_batch, to_vectors

from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.errors import Overloaded, ServerStopping, TooLarge
from visual_memory_service.intake import HOLDS, LOOK_SECONDS, PRESSED_SECONDS, Bounds, Intake

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Start

BOUNDS = Bounds(
    calls_max=2,
    connection_calls_max=8,
    connections_max=8,
    message_bytes_max=100,
    pending_bytes_max=1000,
    idle_seconds=60,
    drain_seconds=5,
)
IMPORTER = """
import sys, numpy, visual_memory
rows = numpy.random.default_rng(0).normal(size=(20_000, 64))
with visual_memory.connect(sys.argv[1]) as client:
    pets = client.create_memory("pets", dimension=64)
    done = pets.insert(
        vectors=rows, labels=["cat"] * len(rows), progress=lambda done, of: print(done, flush=True)
    )
    print(len(done.ids), pets.info().count)
"""


def test_who_comes_first_gets_the_next_place() -> None:
    async def order() -> list[int]:
        intake, came = Intake(BOUNDS), list[int]()

        async def call(number: int) -> None:
            await intake.admit()
            came.append(number)

        calls = [asyncio.create_task(call(number)) for number in range(4)]
        await asyncio.sleep(0)
        assert came == [0, 1]
        for _ in range(2):
            intake.release(0)
        await asyncio.gather(*calls)
        return came

    assert asyncio.run(order()) == [0, 1, 2, 3]


def test_who_waits_for_a_place_is_refused_once_the_server_ends() -> None:
    async def refused() -> None:
        intake = Intake(replace(BOUNDS, calls_max=1))
        await intake.admit()
        waiting = asyncio.create_task(intake.admit())
        await asyncio.sleep(0)
        draining = asyncio.create_task(intake.drain())
        with pytest.raises(ServerStopping):
            await waiting
        intake.release(0)
        await draining

    asyncio.run(refused())


def test_what_calls_hold_is_counted_and_bounded() -> None:
    async def counted() -> None:
        intake = Intake(BOUNDS)
        held = intake.take(0, 100)
        assert held == 100 * HOLDS
        for _ in range(2):
            intake.take(0, 100)
        with pytest.raises(Overloaded):
            intake.take(0, 40)
        assert intake.take(held, 10) == 10 * HOLDS
        intake.take(0, 40)
        with pytest.raises(TooLarge):
            intake.take(0, 101)

    asyncio.run(counted())


def test_a_message_is_not_larger_than_its_call_says(pets: RemoteMemory) -> None:
    question = pb.SearchRequest(memory=pets.name, vectors=to_vectors(np.eye(4)))
    size = question.ByteSize()

    def told(text: str) -> str:
        metadata = (("message-bytes", text),)
        return refusal(lambda: pets.stub.Search(question, metadata=metadata)).message

    pets.stub.Search(question, metadata=(("message-bytes", str(size)),))
    assert f"is {size - 1}, but the message has {size} bytes" in told(str(size - 1))
    assert "must be a number of bytes" in told("-1")
    assert "must be a number of bytes" in told("9" * 5000)
    assert "at most 67108864 are read" in told("9" * 18)


def test_what_is_compressed_is_not_read(pets: RemoteMemory) -> None:
    question = pb.SearchRequest(memory=pets.name, vectors=to_vectors(np.eye(4)))

    error = refusal(lambda: pets.stub.Search(question, compression=grpc.Compression.Gzip))

    assert error.code is grpc.StatusCode.UNIMPLEMENTED


def idle_after_a_second(tmp_path: Path) -> tuple[str, str]:
    """Flags of a server that does not wait for its clients for longer."""
    config = tmp_path / "server.toml"
    config.write_text("idle_seconds = 1\n")
    return "--config", str(config)


def test_a_stream_of_which_nothing_is_heard_is_ended_and_goes_on_in_another(
    start: Start, tmp_path: Path
) -> None:
    server = start(None, *idle_after_a_second(tmp_path))
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=4))
    first = pb.ImportEntriesRequest(start=pb.ImportStart(memory="pets", request_id="r"))
    batch = pb.ImportEntriesRequest(batch=pb.ImportBatch(batch=to_batch(np.eye(4)[:1], ["a"])))

    def silent() -> object:
        yield from (first, batch)
        time.sleep(60)

    stream = server.stub.ImportEntries(silent())  # type: ignore[arg-type]
    error = refusal(lambda: list(stream))
    known = next(server.stub.ImportEntries(iter([first])))

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "CLIENT_SILENT")
    assert list(known.ids) == ["a"]


def test_a_call_whose_message_does_not_come_is_ended(start: Start, tmp_path: Path) -> None:
    server = start(None, *idle_after_a_second(tmp_path))
    method: Any = server.channel.stream_unary("/visual_memory.v1.VisualMemory/Classify")

    def silent() -> object:
        time.sleep(60)
        yield b""

    error = refusal(lambda: method(silent(), timeout=30))

    assert error.reason == "CLIENT_SILENT"


def until_answered(call: Callable[[], int], seconds: float) -> int:
    """What a call comes to that is tried again while the server is overloaded."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if time.monotonic() > end or error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            time.sleep(0.25)


@pytest.mark.parametrize(
    "said", [[None] * 4, [64 << 20, 64 << 20, (128 << 20) // 3]], ids=["unannounced", "announced"]
)
def test_calls_whose_messages_do_not_come_hold_nobody_up(
    pets: RemoteMemory, said: list[int | None]
) -> None:
    over, silent = threading.Event(), []
    question = pb.SearchRequest(memory=pets.name, vectors=to_vectors(np.eye(4)))

    def metadata(size: int | None) -> Any:
        return None if size is None else (("message-bytes", str(size)),)

    def nothing() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    def told() -> int:
        size = question.ByteSize()
        return len(pets.stub.Search(question, metadata=metadata(size), timeout=3).results)

    try:
        for size in said:
            channel = grpc.insecure_channel(pets.server.address)
            method: Any = channel.stream_unary("/visual_memory.v1.VisualMemory/Search")
            silent.append((channel, method.future(nothing(), metadata=metadata(size))))
        time.sleep(0.5)
        if said[0]:
            assert refusal(told).reason == "OVERLOADED"
        assert until_answered(told, PRESSED_SECONDS + 3 * LOOK_SECONDS) == 4
        assert len(pets.stub.Search(question, timeout=30).results) == 4
    finally:
        over.set()


def test_a_client_that_stood_still_for_longer_goes_on(start: Start, tmp_path: Path) -> None:
    server = start(None, *idle_after_a_second(tmp_path))

    with subprocess.Popen(
        [sys.executable, "-c", IMPORTER, server.address], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.send_signal(signal.SIGSTOP)
        time.sleep(3)
        client.send_signal(signal.SIGCONT)
        *_, last = client.stdout.read().splitlines()

    assert last == "20000 20000"
    assert client.returncode == 0
