"""An erasure that renews connections waits for no client, and clients continue afterwards."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tests.conftest import OPTIONS, Server, to_batch

import visual_memory
from visual_memory import Client
from visual_memory.errors import from_rpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

NOBODY_WAITS = (
    "drain_seconds = 3600\n"  # so who waited for a stream would do so until the test ends
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("waiting")
    (folder / "server.toml").write_text(NOBODY_WAITS)
    server = Server(folder / "data", "--config", str(folder / "server.toml"))
    yield server
    assert server.end() == 0


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    """A client with a small memory, and one larger than gRPC sends to an idle reader."""
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", dimension=4)
        pets.insert(vectors=np.ones((10, 4)), labels=["cat"] * 10, ids=list("0123456789"))
        large = client.create_memory("large", dimension=4096)
        rows = np.random.default_rng(0).standard_normal((2000, 4096), np.float32)
        large.insert(vectors=rows, labels=["cat"] * 2000)
        yield client


@pytest.fixture
def stub(server: Server) -> Iterator[VisualMemoryStub]:
    """A stub with its own connection."""
    with grpc.insecure_channel(server.address, options=OPTIONS) as channel:
        yield VisualMemoryStub(channel)


def idle_import(stub: VisualMemoryStub) -> Any:
    """Start an import that waits between two batches."""
    steps: queue.SimpleQueue[pb.ImportEntriesRequest | None] = queue.SimpleQueue()
    start = pb.ImportStart(memory="pets", request_id="idle")
    steps.put(pb.ImportEntriesRequest(start=start))
    batch = to_batch(np.ones((1, 4)), ["imported"])
    steps.put(pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=0, batch=batch)))
    stream = stub.ImportEntries(iter(steps.get, None))
    next(stream)
    next(stream)
    stream.add_callback(lambda: steps.put(None))
    return stream


def unread_backup(stub: VisualMemoryStub) -> Any:
    """Start a backup, and read only its first bytes."""
    stream = stub.BackupMemory(pb.BackupMemoryRequest(memory="large"))
    while not next(stream).data:
        pass
    return stream


def open_unlearning(stub: VisualMemoryStub) -> Any:
    """Start an unlearning, and send half of its ids."""
    steps: queue.SimpleQueue[pb.UnlearnEntriesRequest | None] = queue.SimpleQueue()
    steps.put(pb.UnlearnEntriesRequest(memory="pets", apply=True, id_count=2, ids=["0"]))
    future = stub.UnlearnEntries.future(iter(steps.get, None))
    future.add_done_callback(lambda _: steps.put(None))
    return future


def reason(end: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as ended:
        end()
    return ended.value.code(), from_rpc(ended.value, "the server").reason


def test_an_erasure_ends_streams_that_wait_for_their_clients(
    stub: VisualMemoryStub, client: Client
) -> None:
    importing, backup, unlearning = idle_import(stub), unread_backup(stub), open_unlearning(stub)

    assert client.memory("pets").unlearn(["1", "2"]).count == 2

    renewed = (grpc.StatusCode.UNAVAILABLE, "CONNECTIONS_RENEWED")
    assert reason(lambda: list(importing)) == reason(unlearning.result) == renewed
    code, _ = reason(lambda: list(backup))
    assert code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    assert client.memory("pets").get("0").label == "cat"


def test_imports_backups_and_values_of_the_client_go_on_after_it(
    client: Client, tmp_path: Path
) -> None:
    imported = client.create_memory("imported", dimension=4)
    rows, backed_up = np.ones((10_001, 4)), tmp_path / "large.backup"
    waiting, erased = threading.Semaphore(0), threading.Event()

    def told(done: int, total: int) -> None:
        if done and not erased.is_set():
            waiting.release()
            erased.wait()

    with ThreadPoolExecutor(3) as threads:
        begun: list[Future[Any]] = [
            threads.submit(
                lambda: imported.insert(vectors=rows, labels=["dog"] * len(rows), progress=told)
            ),
            threads.submit(lambda: client.backup("large", backed_up, progress=told)),
            threads.submit(lambda: client.memory("large").values(progress=told)),
        ]
        for _ in begun:
            waiting.acquire()
        assert client.memory("pets").unlearn(["3"]).count == 1
        erased.set()
        inserted, size, values = (each.result() for each in begun)

    assert len(set(inserted.ids)) == imported.info().count == len(rows)
    assert size == backed_up.stat().st_size
    assert client.restore(backed_up, "again").left_out == 0
    assert len(values) == 2000
