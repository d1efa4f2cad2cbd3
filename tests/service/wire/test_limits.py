"""A key's calls are held below its limits, by refusals that say when to come back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tests.api_keys import add, revoke
from tests.conftest import Server, to_batch, to_picture, to_vectors

import visual_memory
from visual_memory import errors
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.access import keys
from visual_memory_service.access.key_file import KeyFile

DIMENSION = 1024


class Limited:
    """A server with a memory, and callers with limits."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.free = visual_memory.connect(server.address, api_key=add(server.data, "free", "admin"))
        memory = self.free.create_memory("pets", dimension=DIMENSION)
        rows = np.random.default_rng(1).standard_normal((2000, DIMENSION))
        memory.insert(vectors=rows, labels=[f"l{number % 5}" for number in range(2000)])

    def stub(self, name: str, **limits: float) -> Callable[..., Any]:
        """Add a key, and return a function that begins a call with it by the bare stub."""
        metadata = (("api-key", add(self.server.data, name, "admin", limits=limits)),)

        def begin(method: str, *arguments: Any, **more: Any) -> Any:
            call = getattr(self.server.stub, method)
            begin = getattr(call, "future", call)
            return begin(*arguments, metadata=metadata, timeout=60, **more)

        return begin


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    server = Server(tmp_path_factory.mktemp("limits") / "data", "--erasure", "files")
    limited = Limited(server)
    yield limited
    limited.free.close()
    assert server.end() == 0


def question(k: int = 5, count: int = 1) -> pb.ClassifyRequest:
    rows = np.random.default_rng(2).standard_normal((count, DIMENSION))
    return pb.ClassifyRequest(memory="pets", k=k, vectors=to_vectors(rows))


def refused(call: Any) -> visual_memory.Error | None:
    """Return the error of a call, None if it was answered."""
    error = call.exception()
    return None if error is None else errors.from_rpc(error, "the server")


def test_calls_at_once(limited: Limited) -> None:
    ask = limited.stub("at-once", calls=3)
    held = [ask("ImportEntries", iter_forever()) for _ in range(3)]
    time.sleep(0.5)

    error = refused(ask("GetMemory", pb.GetMemoryRequest(name="pets")))
    for call in held:
        call.cancel()

    assert error is not None
    assert (error.code, error.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "LIMIT_REACHED",
    )
    assert error.message.startswith('The key "at-once" may have 3 calls at once; try again in')
    assert error.retry_seconds == pytest.approx(0.1)
    deadline = time.monotonic() + 10
    while refused(ask("GetMemory", pb.GetMemoryRequest(name="pets"))) is not None:
        assert time.monotonic() < deadline


def iter_forever() -> Iterator[Any]:
    """Yield nothing, for long."""
    time.sleep(5)
    yield from ()


def test_streams_at_once_leave_other_calls_alone(limited: Limited) -> None:
    ask = limited.stub("streams", streams=2)
    held = [ask("ImportEntries", iter_forever()) for _ in range(2)]
    time.sleep(0.5)

    third = ask("ImportEntries", iter_forever())
    with pytest.raises(grpc.RpcError) as caught:
        next(third)
    assert refused(ask("GetMemory", pb.GetMemoryRequest(name="pets"))) is None
    for call in held:
        call.cancel()

    assert "2 streams at once" in errors.from_rpc(caught.value, "").message


@pytest.mark.parametrize(
    ("name", "limit", "request_of", "unit"),
    [
        ("calls_per_second", 5, lambda: question(), "5 calls a second"),
        ("bytes_per_second", 20_000, lambda: question(count=10), "20,000 bytes a second"),
        ("neighbors_per_second", 1000, lambda: question(k=100, count=20), "1,000 neighbors a"),
    ],
)
def test_rates(
    name: str, limit: float, request_of: Callable[[], Any], unit: str, limited: Limited
) -> None:
    ask = limited.stub(name.replace("_", "-"), **{name: limit})

    came = [refused(ask("Classify", request_of())) for _ in range(20)]

    errors_of = [error for error in came if error is not None]
    assert came[0] is None
    assert errors_of
    assert all(unit in error.message for error in errors_of)
    assert all(error.retry_seconds for error in errors_of)
    assert max(error.retry_seconds or 0 for error in errors_of) <= 2.5
    while (last := refused(ask("Classify", request_of()))) is None:
        pass
    time.sleep((last.retry_seconds or 0.0) + 0.1)
    assert refused(ask("Classify", request_of())) is None


def test_pixels_are_counted_before_they_are_decoded(limited: Limited) -> None:
    limited.free.create_memory("album", embedder="efficientnet-lite0")
    ask = limited.stub("pixels", pixels_per_second=500_000)
    pictures = entry_pb2.Images(data=[to_picture(1, (1000, 1000))] * 2)

    first = refused(ask("Embed", pb.EmbedRequest(memory="album", images=pictures)))
    second = refused(ask("Embed", pb.EmbedRequest(memory="album", images=pictures)))

    assert first is None
    assert second is not None
    assert "500,000 pixels a second" in second.message
    assert 0.0 < (second.retry_seconds or 0.0) <= 3.0


def test_the_python_client_comes_back_when_it_is_told(limited: Limited) -> None:
    text = add(limited.server.data, "patient", "admin", limits={"calls_per_second": 5})
    with visual_memory.connect(limited.server.address, api_key=text) as client:
        memory = client.memory("pets")
        began = time.monotonic()
        answers = [memory.classify(vectors=np.ones((1, DIMENSION)), k=3) for _ in range(15)]
        seconds = time.monotonic() - began

    assert len(answers) == 15
    assert seconds > 1.0


def test_an_import_is_slowed_down_rather_than_refused(limited: Limited) -> None:
    limited.free.create_memory("slow", dimension=DIMENSION)
    text = add(limited.server.data, "importer", "admin", limits={"bytes_per_second": 12e6})
    count = 12_000
    with visual_memory.connect(limited.server.address, api_key=text) as client:
        began = time.monotonic()
        inserted = client.memory("slow").insert(
            vectors=np.random.default_rng(5).standard_normal((count, DIMENSION)),
            labels=["x"] * count,
        )
        seconds = time.monotonic() - began

    assert len(inserted.ids) == count
    assert seconds > 2.0  # 49 MB, of which 12 MB go at once


def batch_of(count: int, offset: int) -> pb.ImportEntriesRequest:
    """Return a message of an import with so many entries."""
    ids = [f"{offset + at}" for at in range(count)]
    rows = np.random.default_rng(offset).standard_normal((count, DIMENSION))
    step = pb.ImportBatch(offset=offset, batch=to_batch(rows, ids))
    return pb.ImportEntriesRequest(batch=step)


def test_a_stream_in_debt_holds_nothing_and_ends_with_the_server(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    text = add(tmp_path / "data", "importer", "admin", limits={"bytes_per_second": 2e6})
    (tmp_path / "server.toml").write_text(
        "message_bytes_max = 20000000\npending_bytes_max = 70000000\n"
    )
    server = start(None, "--config", str(tmp_path / "server.toml"), "--erasure", "files")
    metadata = (("api-key", text),)
    server.stub.CreateMemory(
        pb.CreateMemoryRequest(name="pets", dimension=DIMENSION), metadata=metadata
    )
    over = threading.Event()

    def messages() -> Iterator[pb.ImportEntriesRequest]:
        begin = pb.ImportStart(memory="pets", request_id="one")
        yield pb.ImportEntriesRequest(start=begin)
        yield batch_of(4000, 0)  # 16 MB, which hold 48 of 70
        over.wait(30)

    answers = server.stub.ImportEntries(messages(), metadata=metadata)
    stored = 0
    while stored < 4000:
        stored += len(next(answers).ids)
    time.sleep(1.0)
    other = visual_memory.connect(
        server.address, api_key=add(tmp_path / "data", "other", "admin"), timeout=3
    )
    rows = np.random.default_rng(9).standard_normal((4000, DIMENSION))
    other.memory("pets").insert(vectors=rows, labels=["x"] * 4000)
    other.close()
    began = time.monotonic()
    assert server.end() == 0
    seconds = time.monotonic() - began
    over.set()

    assert seconds < 10.0
    with pytest.raises(grpc.RpcError) as caught:
        list(answers)
    assert errors.from_rpc(caught.value, "").reason in ("CONNECTIONS_RENEWED", "")


def test_what_is_refused_is_paid_for_too(limited: Limited) -> None:
    ask = limited.stub("garbage", bytes_per_second=1e5)
    large = pb.InsertEntriesRequest(
        memory="nobody", batch=to_batch(np.ones((200, DIMENSION)), "x" * 200)
    )

    came = [refused(ask("InsertEntries", large)) for _ in range(4)]

    reasons = [error.reason for error in came if error is not None]
    assert len(reasons) == 4
    assert reasons[0] != "LIMIT_REACHED"
    assert set(reasons[1:]) == {"LIMIT_REACHED"}


def test_a_stream_of_a_revoked_key_ends_with_its_next_message(limited: Limited) -> None:
    limited.free.create_memory("revoked", dimension=DIMENSION)
    ask = limited.stub("stolen")
    revoked = threading.Event()

    def messages() -> Iterator[pb.ImportEntriesRequest]:
        begin = pb.ImportStart(memory="revoked", request_id="one")
        yield pb.ImportEntriesRequest(start=begin)
        yield batch_of(3, 0)
        revoked.wait(30)
        yield batch_of(3, 3)

    answers = ask("ImportEntries", messages())
    stored = 0
    while stored < 3:
        stored += len(next(answers).ids)
    revoke(limited.server.data, "stolen")
    revoked.set()

    with pytest.raises(grpc.RpcError) as caught:
        list(answers)
    assert errors.from_rpc(caught.value, "").reason == "REVOKED_KEY"
    assert limited.free.memory("revoked").info().count == 3


def test_limits_change_while_the_server_runs(limited: Limited) -> None:
    ask = limited.stub("changed", calls_per_second=1)
    assert any(refused(ask("Classify", question())) for _ in range(5))

    KeyFile(limited.server.data).change(
        lambda known: keys.limit(known, "changed", {"calls_per_second": 1e6})
    )

    assert not any(refused(ask("Classify", question())) for _ in range(20))


def test_one_key_at_its_limits_leaves_others_alone(limited: Limited) -> None:
    ask = limited.stub("greedy", calls_per_second=20, calls=4)
    memory = limited.free.memory("pets")
    with ThreadPoolExecutor(8) as threads:
        greedy = [threads.submit(lambda: refused(ask("Classify", question()))) for _ in range(400)]
        answered = [memory.classify(vectors=np.ones((1, DIMENSION)), k=3) for _ in range(50)]
        came = Counter(type(each.result()) for each in greedy)

    assert len(answered) == 50
    assert came[visual_memory.ResourceExhausted] > 200
