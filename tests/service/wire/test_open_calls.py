"""Calls that need no key take no room from others, and whoever is refused costs others little."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from tests.api_keys import add, revoke
from tests.conftest import Server, refusal, to_vectors

import visual_memory
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.wire.admission import SMALL_BYTES

HEALTH, OURS = "/grpc.health.v1.Health", "/visual_memory.v1.VisualMemory"
INFERENCE = "/inference.GRPCInferenceService"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
OPEN = (
    f"{HEALTH}/Check",
    f"{HEALTH}/Watch",
    f"{INFERENCE}/ServerLive",
    f"{INFERENCE}/ServerReady",
    f"{OURS}/GetServerInfo",
    REFLECTION,
)
WITH_ONE_MESSAGE = OPEN[:-1]
HELD: dict[bool, list[dict[str, str]]] = {  # what calls say that take all room there is
    True: [{"message_bytes": str(mebibytes << 20)} for mebibytes in (64, 64, 42)],
    False: [{}] * 40,
}


class Guarded:
    """A server with keys, whose texts are known by name, and a memory."""

    def __init__(self, server: Server, texts: dict[str, str]) -> None:
        self.server, self.texts = server, texts
        with visual_memory.connect(server.address, api_key=texts["honest"]) as client:
            pets = client.create_memory("pets", dimension=1024)
            pets.insert(vectors=np.eye(1024)[:4], labels=list("abcd"))

    def call(self, path: str, messages: Iterator[bytes], **metadata: str) -> Any:
        """Begin a call, and return what ends with its answers."""
        method: Any = self.server.channel.stream_stream(path)
        said = tuple((name.replace("_", "-"), text) for name, text in metadata.items())
        return method(messages, metadata=said, timeout=60)

    def seconds_of_search(self, rows: int, *, announced: bool) -> float:
        """Search for ``rows`` vectors, 4 KiB each; return how long it took."""
        question = pb.SearchRequest(memory="pets", k=1, vectors=to_vectors(np.eye(1024)[:rows]))
        said: tuple[tuple[str, str], ...] = (("api-key", self.texts["honest"]),)
        if announced:
            said = (*said, ("message-bytes", str(question.ByteSize())))
        began = time.monotonic()
        found = self.server.stub.Search(question, metadata=said, timeout=60)
        assert len(found.results) == rows
        return time.monotonic() - began


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    data = tmp_path_factory.mktemp("guarded") / "data"
    texts = {name: add(data, name, "admin") for name in ("honest", "hostile")}
    server = Server(data, "--public", "reflection", "--public", "server-info")
    yield Guarded(server, texts)
    assert server.end() == 0


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """An event that is set once the test has ended."""
    event = threading.Event()
    yield event
    event.set()


def silent(over: threading.Event) -> Iterator[bytes]:
    """Yield no messages, but wait until ``over`` is set."""
    over.wait(120)
    yield from ()


@pytest.mark.parametrize("path", OPEN)
def test_a_message_that_waits_for_no_room_is_small(path: str, guarded: Guarded) -> None:
    unknown_field = bytes([0xFA, 0x7F, *([0x80 | SMALL_BYTES & 0x7F, 0x80, 0x04])])
    message = unknown_field + bytes(SMALL_BYTES)

    error = refusal(lambda: list(guarded.call(path, iter([message]))))

    assert (error.reason, str(len(message)) in error.message) == ("BAD_FIELD", True)


@pytest.mark.parametrize("path", WITH_ONE_MESSAGE)
def test_a_message_that_waits_for_no_room_comes_at_once(
    path: str, guarded: Guarded, over: threading.Event
) -> None:
    assert refusal(lambda: list(guarded.call(path, silent(over)))).reason == "CLIENT_SILENT"


def test_a_stream_that_waits_for_no_room_ends_where_nothing_comes(
    guarded: Guarded, over: threading.Event
) -> None:
    assert list(guarded.call(REFLECTION, silent(over))) == []


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("path", WITH_ONE_MESSAGE)
def test_callers_without_a_key_take_no_room(
    path: str, announced: bool, guarded: Guarded, over: threading.Event
) -> None:
    held = [guarded.call(path, silent(over), **said) for said in HELD[announced]]
    time.sleep(0.3)

    seconds = guarded.seconds_of_search(400, announced=announced)

    assert seconds < 1
    for each in held:
        each.cancel()


@pytest.mark.parametrize("announced", [True, False])
def test_one_key_takes_no_room_from_others(
    announced: bool, guarded: Guarded, over: threading.Event
) -> None:
    path, key = f"{OURS}/Search", guarded.texts["hostile"]
    held = [guarded.call(path, silent(over), api_key=key, **said) for said in HELD[announced]]
    time.sleep(0.3)

    seconds = guarded.seconds_of_search(400, announced=announced)

    assert seconds < 1
    for each in held:
        each.cancel()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "NO_KEY"),
        ({"authorization": "Basic YTpi"}, "BAD_FIELD"),
        ({"authorization": "Bearer a", "api_key": "b"}, "BAD_FIELD"),
    ],
)
def test_whoever_is_refused_all_the_time_waits(
    metadata: dict[str, str], reason: str, guarded: Guarded
) -> None:
    def refused(_: int) -> str:
        call = guarded.call(f"{OURS}/ListMemories", iter([b""]), **metadata)
        return refusal(lambda: list(call)).reason

    seconds, began = 3.0, time.monotonic()
    came = Counter[str]()
    with ThreadPoolExecutor(48) as threads:
        while time.monotonic() - began < seconds:
            came.update(threads.map(refused, range(48)))
    paced = 200 * (time.monotonic() - began) + 200 + 48

    assert (set(came), came[reason] <= paced) == ({reason}, True)


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_a_message_that_comes_after_its_key_was_revoked_is_not_taken(
    seconds: float, guarded: Guarded
) -> None:
    name = f"late-{seconds}"
    text = add(guarded.server.data, name, "write")
    revoked = threading.Event()

    def question() -> Iterator[bytes]:
        revoked.wait(30)
        yield pb.ListEntriesRequest(memory="pets").SerializeToString()

    call = guarded.call(f"{OURS}/ListEntries", question(), api_key=text)
    time.sleep(0.3 + seconds)
    if seconds:
        revoke(guarded.server.data, name)
    revoked.set()

    if seconds:
        assert refusal(lambda: list(call)).reason == "REVOKED_KEY"
    else:
        assert len(list(call)) == 1


def test_a_backup_of_a_revoked_key_ends(guarded: Guarded) -> None:
    text = add(guarded.server.data, "leaver", "admin")
    with visual_memory.connect(guarded.server.address, api_key=text) as client:
        rows = np.random.default_rng(0).standard_normal((8000, 1024))
        client.create_memory("many", dimension=1024).insert(vectors=rows, labels=["a"] * 8000)
    backup = guarded.server.stub.BackupMemory(
        pb.BackupMemoryRequest(memory="many"), metadata=(("api-key", text),), timeout=60
    )
    while not next(backup).data:
        pass

    revoke(guarded.server.data, "leaver")

    with pytest.raises(grpc.RpcError) as caught:
        list(backup)
    assert visual_memory.errors.from_rpc(caught.value, "").reason == "REVOKED_KEY"
