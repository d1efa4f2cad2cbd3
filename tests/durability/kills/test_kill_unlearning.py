"""kill -9 while entries are erased: the erasure resumes, and leaves nothing of them in files."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tests.service.erasure.residue import Residue

import visual_memory
from visual_memory import Memory

if TYPE_CHECKING:
    from tests.conftest import Server, Start

ROUNDS = max(2, int(os.environ.get("KILL_ROUNDS", "4")) // 10)
STAYING, ERASED, DIMENSION = 50, 20, 64
SECONDS_MAX = 1.5


def secret(kind: str, number: int) -> str:
    return f"{kind} {random.Random(f'{kind} {number}').getrandbits(96):024x}"


def insert(album: Memory, numbers: Sequence[int]) -> tuple[list[str], Residue]:
    """Insert people; return their ids and the secrets that must be gone after unlearning."""
    rows = np.random.default_rng(numbers[0]).standard_normal((len(numbers), DIMENSION), np.float32)
    ids = [secret("id", number) for number in numbers]
    labels = [secret("label", number) for number in numbers]
    names = [secret("name", number) for number in numbers]
    metadata = [{"name": name} for name in names]
    album.insert(vectors=rows, labels=labels, ids=ids, metadata=metadata)
    stored = list(album.entries(include_vectors=True))
    vectors = {each.id: each.vector.tobytes() for each in stored if each.vector is not None}
    return ids, Residue(
        {text: text.encode() for text in [*ids, *labels, *names]}
        | {f"vector {id}": vectors[id] for id in ids}
    )


def kill(server: Server, seconds: float) -> None:
    time.sleep(seconds)
    server.restart(number=signal.SIGKILL)


def test_erasing_goes_on_after_any_kill(start: Start) -> None:
    server, chance = start(), random.Random(random.random())
    with visual_memory.connect(server.address) as client:
        album = client.create_memory("album", dimension=DIMENSION)
        insert(album, range(STAYING))
        digest = album.info().digest
    for number in range(1, ROUNDS + 1):
        with visual_memory.connect(server.address) as client:
            album = client.memory("album")
            ids, residue = insert(album, range(number * 1000, number * 1000 + ERASED))
            assert sum(residue.in_files(server.data).values()) > ERASED
            operation = album.unlearn(ids, wait=False)
        for _ in range(chance.randint(1, 2)):
            kill(server, chance.uniform(0, SECONDS_MAX))
        with visual_memory.connect(server.address) as client:
            assert client.wait(operation.name).state == "done"
            certificate = client.certificate(operation.name)

            assert residue.in_files(server.data) == {}
            assert all(map(certificate.holds, ids))
            assert client.memory("album").info().digest == digest
            assert client.verify(certificate).trusted
