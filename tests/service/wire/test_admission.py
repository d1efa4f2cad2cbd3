"""Calls wait for their turn, and messages are counted by size before they are received."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import refusal, to_batch, to_vectors

import visual_memory
from visual_memory import errors
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1 import service_pb2_grpc
from visual_memory_service.config import Bounds
from visual_memory_service.errors import Overloaded, ServerStopping, TooLarge
from visual_memory_service.wire.admission import (
    HOLDS,
    PRESSED_SECONDS,
    SMALL_BYTES,
    AdmissionControl,
)

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Server, Start

BOUNDS = Bounds(
    calls_max=2,
    connection_calls_max=8,
    connections_max=8,
    message_bytes_max=100,
    pending_bytes_max=1000,
    idle_seconds=60,
    drain_seconds=5,
)


@dataclass(eq=False)
class AdmittedCall:
    """A call, as admission control sees it."""

    held: int = 0
    holder: str | None = None
    unannounced: bool = False
    patience: float = PRESSED_SECONDS
    idle_seconds: float | None = None

    def end_silent(self) -> None:
        """Do nothing."""


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
        admission, came = AdmissionControl(BOUNDS), list[int]()

        async def call(number: int) -> None:
            await admission.admit()
            came.append(number)

        calls = [asyncio.create_task(call(number)) for number in range(4)]
        await asyncio.sleep(0)
        assert came == [0, 1]
        for _ in range(2):
            admission.release(AdmittedCall())
        await asyncio.gather(*calls)
        return came

    assert asyncio.run(order()) == [0, 1, 2, 3]


def test_who_waits_for_a_place_is_refused_once_the_server_ends() -> None:
    async def refused() -> None:
        admission = AdmissionControl(replace(BOUNDS, calls_max=1))
        await admission.admit()
        waiting = asyncio.create_task(admission.admit())
        await asyncio.sleep(0)
        draining = asyncio.create_task(admission.drain())
        with pytest.raises(ServerStopping):
            await waiting
        admission.release(AdmittedCall())
        await draining

    asyncio.run(refused())


def test_what_calls_hold_is_counted_and_bounded() -> None:
    async def counted() -> None:
        admission = AdmissionControl(
            replace(BOUNDS, message_bytes_max=100_000, pending_bytes_max=1_000_000)
        )
        first = AdmittedCall()
        admission.reserve(first, 100_000)
        assert first.held == 100_000 * HOLDS
        for _ in range(2):
            admission.reserve(AdmittedCall(), 100_000)
        with pytest.raises(Overloaded):
            admission.reserve(AdmittedCall(), 70_000)
        admission.reserve(first, 10_000)
        assert first.held == 10_000 * HOLDS
        admission.reserve(AdmittedCall(), 70_000)
        with pytest.raises(TooLarge):
            admission.reserve(AdmittedCall(), 100_001)

    asyncio.run(counted())


def test_the_calls_of_one_key_leave_others_half_of_the_room() -> None:
    admission = AdmissionControl(
        replace(BOUNDS, message_bytes_max=400_000, pending_bytes_max=1_200_000)
    )
    own = [AdmittedCall(holder="a") for _ in range(3)]
    admission.reserve(own[0], 100_000)
    with pytest.raises(Overloaded, match="600000 bytes"):
        admission.reserve(own[1], 101_000)
    admission.reserve(own[1], 100_000)
    admission.reserve(own[2], SMALL_BYTES)

    admission.reserve(AdmittedCall(holder="b"), 110_000)

    for call in own[:2]:
        admission.release(call)
        assert call.held == 0
    admission.reserve(own[0], 110_000)
    assert admission.gauges()["visual_memory_pending_bytes"][1] == HOLDS * (220_000 + SMALL_BYTES)


def test_silent_calls_of_a_key_make_room_for_its_own_messages_alone() -> None:
    admission = AdmissionControl(
        replace(BOUNDS, message_bytes_max=400_000, pending_bytes_max=1_200_000)
    )
    own, other = AdmittedCall(holder="a"), AdmittedCall(holder="b")
    admission.reserve(own, 150_000)
    admission.reserve(other, 100_000)
    with pytest.raises(Overloaded, match='the key "a"'):
        admission.reserve(AdmittedCall(holder="a"), 100_000)

    assert ended(admission, other, own, after=PRESSED_SECONDS - 0.5) == [False, False]
    own.patience = other.patience = 1
    assert ended(admission, other, own, after=2) == [False, True]


def test_one_message_may_have_more_than_half_of_the_room() -> None:
    admission = AdmissionControl(
        replace(BOUNDS, message_bytes_max=400_000, pending_bytes_max=1_200_000)
    )
    admission.reserve(AdmittedCall(holder="a"), 400_000)

    with pytest.raises(Overloaded):
        admission.reserve(AdmittedCall(holder="a"), SMALL_BYTES + 1)


def test_one_key_leaves_others_places_for_messages_of_unknown_size() -> None:
    async def looked() -> None:
        admission = AdmissionControl(replace(BOUNDS, message_bytes_max=1, pending_bytes_max=16))
        came = list[str]()

        async def call(holder: str) -> None:
            async with admission.unannounced(holder):
                came.append(holder)
                await asyncio.Event().wait()

        calls = [asyncio.create_task(call(holder)) for holder in "aaaabc"]
        await asyncio.sleep(0.01)
        assert came == ["a", "a", "b", "c"]
        silent = [AdmittedCall(holder=holder, unannounced=True) for holder in "baaa"]
        assert ended(admission, *silent, after=PRESSED_SECONDS) == [False, True, True, False]
        last = asyncio.create_task(call("d"))
        calls.append(last)
        await asyncio.sleep(0.01)
        assert came == ["a", "a", "b", "c"]
        assert ended(admission, *silent, after=PRESSED_SECONDS) == [True, True, True, False]
        draining = asyncio.create_task(admission.drain())
        assert [type(each.exception()) for each in (await asyncio.wait(calls, timeout=1))[0]] == [
            ServerStopping
        ] * 3
        await draining
        for each in calls:
            each.cancel()

    asyncio.run(looked())


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
    """Return flags of a server that waits one second for a silent client."""
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


def ended(admission: AdmissionControl, *calls: AdmittedCall, after: float) -> list[bool]:
    """Return, for each silent call, True if a look after ``after`` seconds would end it."""
    for call in calls:
        admission.note(call, silent=True)
    overdue = admission.overdue(time.monotonic() + after)
    return [call in overdue for call in calls]


def test_silent_calls_end_sooner_where_others_wait_for_a_place() -> None:
    async def looked() -> None:
        admission = AdmissionControl(BOUNDS)
        calls = AdmittedCall(), AdmittedCall(), AdmittedCall(patience=9)
        for _ in range(2):
            await admission.admit()
        assert ended(admission, *calls, after=59) == [False] * 3
        waiting = asyncio.create_task(admission.admit())
        await asyncio.sleep(0)
        assert ended(admission, *calls, after=4) == [False] * 3
        assert ended(admission, *calls, after=8) == [True, False, False]
        waiting.cancel()
        assert ended(admission, *calls, after=61) == [True] * 3

    asyncio.run(looked())


def test_a_caller_may_have_less_patience_than_the_server() -> None:
    calls = AdmittedCall(), AdmittedCall(idle_seconds=2)

    assert ended(AdmissionControl(BOUNDS), *calls, after=3) == [False, True]


def test_those_that_hold_most_make_room_for_what_was_refused_and_no_others() -> None:
    async def looked() -> None:
        admission = AdmissionControl(
            replace(BOUNDS, message_bytes_max=400_000, pending_bytes_max=1_200_000)
        )
        few, most, more = (AdmittedCall() for _ in range(3))
        for call, size in ((few, 1_000), (most, 300_000), (more, 80_000)):
            admission.reserve(call, size)
        with pytest.raises(Overloaded):
            admission.reserve(AdmittedCall(), 400_000)
        assert ended(admission, few, after=4.5) == [False]
        with pytest.raises(Overloaded):
            admission.reserve(AdmittedCall(), 100_000)
        assert ended(admission, few, more, most, after=4.9) == [False, False, False]
        most.patience = more.patience = few.patience = 1
        assert ended(admission, few, after=2) == [False]
        assert ended(admission, few, more, most, after=2) == [False, False, True]

    asyncio.run(looked())


def test_a_small_message_is_never_refused() -> None:
    async def taken() -> None:
        admission = AdmissionControl(
            replace(BOUNDS, message_bytes_max=400_000, pending_bytes_max=300_000)
        )
        admission.reserve(AdmittedCall(), 400_000)
        call = AdmittedCall()
        with pytest.raises(Overloaded):
            admission.reserve(call, SMALL_BYTES + 1)
        admission.reserve(call, SMALL_BYTES)
        assert call.held == HOLDS * SMALL_BYTES

    asyncio.run(taken())


def nothing(over: threading.Event) -> Iterator[bytes]:
    """Yield no messages, but wait until ``over`` is set."""
    over.wait(120)
    yield from ()


def with_settings(start: Start, tmp_path: Path, **settings: float) -> Server:
    """Start a server with these settings and a memory of four vectors."""
    config = tmp_path / "server.toml"
    config.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    server = start(None, "--config", str(config))
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=1024))
    batch = to_batch(np.eye(1024)[:4], list("abcd"))
    server.stub.InsertEntries(pb.InsertEntriesRequest(memory="pets", batch=batch))
    return server


def search_for(rows: int) -> pb.SearchRequest:
    """Return a search of ``rows`` queries, 4 KiB each."""
    return pb.SearchRequest(memory="pets", k=1, vectors=to_vectors(np.eye(1024)[:rows]))


def said(size: int) -> tuple[tuple[str, str]]:
    return (("message-bytes", str(size)),)


def test_silent_calls_of_unknown_size_keep_no_place_and_no_room(
    start: Start, tmp_path: Path
) -> None:
    server, over = with_settings(start, tmp_path, calls_max=4, idle_seconds=20), threading.Event()
    method: Any = server.channel.stream_unary("/visual_memory.v1.VisualMemory/Search")
    silent = [method.future(nothing(over)) for _ in range(12)]
    time.sleep(0.5)
    try:
        question = search_for(4)
        for _ in range(8):
            found = server.stub.Search(question, metadata=said(question.ByteSize()), timeout=5)
            assert len(found.results) == 4
        assert not any(each.done() for each in silent)
    finally:
        over.set()


def test_silent_calls_make_room_for_large_messages(start: Start, tmp_path: Path) -> None:
    bound = 3 << 20
    server, over = with_settings(start, tmp_path, pending_bytes_max=bound), threading.Event()
    method: Any = server.channel.stream_unary("/visual_memory.v1.VisualMemory/Search")
    silent = method.future(nothing(over), metadata=said(bound // HOLDS))
    time.sleep(0.5)
    try:
        small, large = search_for(4), search_for(100)
        assert len(server.stub.Search(small, metadata=said(small.ByteSize())).results) == 4
        reasons = []
        while not silent.done():
            try:
                server.stub.Search(large, metadata=said(large.ByteSize()))
            except grpc.RpcError as error:
                reasons.append(errors.from_rpc(error, "").reason)
            time.sleep(0.25)
        assert set(reasons) == {"OVERLOADED"}
        assert errors.from_rpc(silent.exception(), "").reason == "CLIENT_SILENT"
        assert len(server.stub.Search(large, metadata=said(large.ByteSize())).results) == 100
    finally:
        over.set()


def test_a_call_that_is_cancelled_holds_its_bytes_while_they_are_worked_on(
    start: Start, tmp_path: Path
) -> None:
    server = with_settings(start, tmp_path, pending_bytes_max=3 << 20)
    batch = to_batch(np.eye(1024)[:200], [f"{number}" for number in range(200)])
    request = pb.InsertEntriesRequest(memory="pets", batch=batch)
    metadata = said(request.ByteSize())
    (file,) = (server.data / "memories").glob("pets.*sqlite")

    with closing(sqlite3.connect(file, isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        call = server.stub.InsertEntries.future(request, metadata=metadata)
        time.sleep(0.5)
        call.cancel()
        time.sleep(0.5)
        error = refusal(lambda: server.stub.InsertEntries(request, metadata=metadata))
        held.execute("ROLLBACK")

    assert error.reason == "OVERLOADED"
    with visual_memory.connect(server.address) as client:
        client.memory("pets").insert(
            vectors=np.eye(1024)[:200], labels=["cat"] * 200, ids=[f"later {n}" for n in range(200)]
        )


def test_who_reads_on_after_a_long_silence_is_told_the_end(start: Start, tmp_path: Path) -> None:
    server = with_settings(start, tmp_path, idle_seconds=4)
    rows = np.random.default_rng(0).normal(size=(4000, 1024))
    batch = to_batch(rows, [f"{number}" for number in range(len(rows))])
    server.stub.InsertEntries(pb.InsertEntriesRequest(memory="pets", batch=batch))

    pieces = server.stub.BackupMemory(pb.BackupMemoryRequest(memory="pets"), timeout=60)
    while not next(pieces).data:
        pass
    end = time.monotonic() + 7
    while time.monotonic() < end:  # the connection is not idle
        server.stub.GetServerInfo(pb.GetServerInfoRequest())
        time.sleep(0.1)
    error = refusal(lambda: list(pieces))

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "CLIENT_SILENT")


def test_a_server_that_is_told_to_stop_does_not_wait_for_silent_clients(
    start: Start, tmp_path: Path
) -> None:
    server, over = with_settings(start, tmp_path, drain_seconds=600), threading.Event()
    first = pb.ImportEntriesRequest(start=pb.ImportStart(memory="pets", request_id="r"))

    def begun_alone() -> Iterator[pb.ImportEntriesRequest]:
        yield first
        over.wait(120)

    method: Any = server.channel.stream_unary("/visual_memory.v1.VisualMemory/Search")
    silent = method.future(nothing(over))
    stream = server.stub.ImportEntries(begun_alone())
    next(stream)
    try:
        assert server.end() == 0
        reasons = [refusal(silent.result).reason, refusal(lambda: list(stream)).reason]
    finally:
        over.set()

    assert reasons == ["CONNECTIONS_RENEWED"] * 2


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


class Stalled:
    """A proxy to a server, which passes on no answers once it is ``stalled``."""

    def __init__(self, server: str) -> None:
        host, port = server.rsplit(":", 1)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._server = socket.create_connection((host, int(port)))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._client: socket.socket | None = None
        self.stalled = threading.Event()
        threading.Thread(target=self._pass_on, daemon=True).start()

    def _pass_on(self) -> None:
        self._client, _ = self._listening.accept()
        threading.Thread(target=self._answer, args=(self._client,), daemon=True).start()
        with suppress(OSError):
            while data := self._client.recv(65_536):
                self._server.sendall(data)

    def _answer(self, client: socket.socket) -> None:
        with suppress(OSError):
            while (data := self._server.recv(4096)) and not self.stalled.is_set():
                client.sendall(data)

    def close(self) -> None:
        for each in filter(None, (self._listening, self._client, self._server)):
            each.close()


def test_an_answer_that_is_not_read_counts_and_makes_room_for_others(
    start: Start, tmp_path: Path
) -> None:
    server = with_settings(start, tmp_path, pending_bytes_max=15 << 20)
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="points", dimension=2))
    batch = to_batch(np.random.default_rng(0).normal(size=(100, 2)), [f"{n}" for n in range(100)])
    server.stub.InsertEntries(pb.InsertEntriesRequest(memory="points", batch=batch))
    stalled = Stalled(server.address)
    question = pb.SearchRequest(
        memory="points", k=100, vectors=to_vectors(np.random.default_rng(1).normal(size=(4000, 2)))
    )
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(stalled.address, options=options) as channel:
        stub: Any = service_pb2_grpc.VisualMemoryStub(channel)
        assert stub.GetMemory(pb.GetMemoryRequest(name="points")).count == 100
        stalled.stalled.set()
        unread = stub.Search.future(question, metadata=said(question.ByteSize()))
        time.sleep(3)
        large, refused, end = search_for(100), set[str](), time.monotonic() + 40
        while time.monotonic() < end:
            try:
                server.stub.Search(large, metadata=said(large.ByteSize()))
                break
            except grpc.RpcError as error:
                refused.add(errors.from_rpc(error, "").reason)
            time.sleep(0.25)
        assert not unread.done()
        unread.cancel()
    stalled.close()

    assert refused == {"OVERLOADED"}
    assert time.monotonic() < end
    assert server.stub.GetMemory(pb.GetMemoryRequest(name="points")).count == 100
