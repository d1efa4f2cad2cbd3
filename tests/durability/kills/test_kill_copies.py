"""kill -9 while a memory is backed up, restored and copied: each is there as a whole, or not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import visual_memory
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Server, Start

COUNT, DIMENSION = 4000, 128
# When it is killed; all of them where many kills are asked for, as by ``make durability``.
SECONDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)[:: 1 if "KILL_ROUNDS" in os.environ else 2]
PIECE_BYTES = 1 << 16


def fill(server: Server) -> None:
    """Create a memory that takes some time to copy."""
    rows = np.random.default_rng(0).standard_normal((COUNT, DIMENSION))
    ids = [f"{number:06}" for number in range(COUNT)]
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=DIMENSION)
        memory.insert(vectors=rows, labels=["cat"] * COUNT, ids=ids)


def unfinished(server: Server) -> list[str]:
    return os.listdir(server.data / "unfinished")


def sending(data: bytes) -> Iterator[pb.RestoreMemoryRequest]:
    yield pb.RestoreMemoryRequest(name="restored")
    for start in range(0, len(data), PIECE_BYTES):
        yield pb.RestoreMemoryRequest(data=data[start : start + PIECE_BYTES])


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_kill_in_the_middle_leaves_nothing_half_done(
    seconds: float, start: Start, tmp_path: Path
) -> None:
    server, file = start(), tmp_path / "pets.vmb"
    fill(server)
    with visual_memory.connect(server.address) as client:
        client.backup("pets", file)
        digest = client.memory("pets").info().digest
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
