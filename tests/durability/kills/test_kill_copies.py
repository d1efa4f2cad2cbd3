"""kill -9 while a memory is backed up, restored and copied: each is there as a whole, or not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Server

import visual_memory
from visual_memory.v1 import service_pb2 as pb

COUNT, DIMENSION = 4000, 128
# When it is killed; all of them where many kills are asked for, as by ``make durability``.
SECONDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)[:: 1 if "KILL_ROUNDS" in os.environ else 2]
PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Filled:
    """A server with a memory that takes some time to copy, and its backup and digest."""

    server: Server
    file: Path
    digest: str


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """The server of all tests, which each of them kills and starts again."""
    folder = tmp_path_factory.mktemp("filled")
    server, file = Server(folder / "data"), folder / "pets.vmb"
    rows = np.random.default_rng(0).standard_normal((COUNT, DIMENSION))
    ids = [f"{number:06}" for number in range(COUNT)]
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=DIMENSION)
        memory.insert(vectors=rows, labels=["cat"] * COUNT, ids=ids)
        client.backup("pets", file)
        digest = memory.info().digest
    yield Filled(server, file, digest)
    if server.process.poll() is None:
        server.end(signal.SIGKILL)


def unfinished(server: Server) -> list[str]:
    return os.listdir(server.data / "unfinished")


def sending(data: bytes) -> Iterator[pb.RestoreMemoryRequest]:
    yield pb.RestoreMemoryRequest(name="restored")
    for start in range(0, len(data), PIECE_BYTES):
        yield pb.RestoreMemoryRequest(data=data[start : start + PIECE_BYTES])


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_kill_in_the_middle_leaves_nothing_half_done(seconds: float, filled: Filled) -> None:
    server, file, digest = filled.server, filled.file, filled.digest
    calls = [
        server.stub.BackupMemory(pb.BackupMemoryRequest(memory="pets")),
        server.stub.RestoreMemory.future(sending(file.read_bytes())),
        server.stub.CopyMemory.future(pb.CopyMemoryRequest(memory="pets", new_name="copied")),
    ]
    while not unfinished(server):
        pass
    time.sleep(seconds)

    server.restart(number=signal.SIGKILL)

    assert len(calls) == 3
    assert unfinished(server) == []
    with visual_memory.connect(server.address) as client:
        infos = client.memories()
        assert len(list((server.data / "memories").glob("*.sqlite"))) == len(infos)
        for info in infos:
            assert (info.count, info.digest) == (COUNT, digest)
            assert client.memory(info.name).check().digest == digest
        assert client.restore(file, "again").info.digest == digest
        for info in client.memories():
            if info.name != "pets":
                client.delete_memory(info.name)
