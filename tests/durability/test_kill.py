"""kill -9 at random moments under three writers: what was acknowledged is there, and nothing half.

``make durability`` does it 60 times.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from tests.conftest import RemoteMemory, Server, to_batch

from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

ROUNDS = int(os.environ.get("KILL_ROUNDS", "6"))
SECONDS_MAX = 0.6
BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@dataclass(eq=False)
class Write:
    """What was sent about ``ids``; ``answer`` is None where none came before the kill."""

    send: Callable[[Any], bytes]
    ids: list[str]
    answer: bytes | None = None


class Writers:
    """Three threads that write as fast as they can, each in its own way, until the server dies."""

    def __init__(self, server: Server, name: str, chance: random.Random) -> None:
        self.server, self.name = server, name
        self.inserted: list[Write] = []
        self.imported: list[Write] = []
        self.deleted: list[Write] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(write, random.Random(chance.random())))
            for write in (self.insert, self.import_, self.delete)
        ]

    def until_killed(self, seconds: float) -> None:
        """Write for so long, then kill."""
        for thread in self._threads:
            thread.start()
        time.sleep(seconds)
        self.server.process.send_signal(signal.SIGKILL)
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)
        self.server.wait()

    def _run(self, write: Callable[[random.Random, int], None], chance: random.Random) -> None:
        number = 0
        while not self._over.is_set():
            try:
                write(chance, number)
            except grpc.RpcError as error:
                if error.code() not in BROKEN:
                    raise
                return
            number += 1

    def insert(self, chance: random.Random, number: int) -> None:
        ids = [f"{self.name} insert {number} {each}" for each in range(chance.randint(1, 20))]
        request = pb.InsertEntriesRequest(
            memory="pets", batch=to_rows(chance, ids), request_id=ids[0]
        )
        self._send(Write(call("InsertEntries", request), ids), self.inserted)

    def import_(self, chance: random.Random, number: int) -> None:
        """A stream of some batches, sent without waiting for acknowledgements."""
        start = pb.ImportStart(memory="pets", request_id=f"{self.name} import {number}")
        steps: list[pb.ImportBatch] = []
        offset = 0
        for _ in range(chance.randint(1, 8)):
            ids = [f"{start.request_id} {offset + each}" for each in range(chance.randint(1, 9))]
            steps.append(pb.ImportBatch(offset=offset, batch=to_rows(chance, ids)))
            offset += len(ids)
        writes = [
            Write(again(start, step), [entry.id for entry in step.batch.entries]) for step in steps
        ]

        def requests() -> Iterator[pb.ImportEntriesRequest]:
            yield pb.ImportEntriesRequest(start=start)
            for step, write in zip(steps, writes, strict=True):
                self.imported.append(write)
                yield pb.ImportEntriesRequest(batch=step)

        answers = self.server.stub.ImportEntries(requests())
        next(answers)
        for write, answer in zip(writes, answers, strict=True):
            write.answer = answer.SerializeToString(deterministic=True)

    def delete(self, chance: random.Random, number: int) -> None:
        """All, some or none of a batch that was acknowledged."""
        if number >= len(self.inserted) or self.inserted[number].answer is None:
            time.sleep(0.001)
            return
        ids = self.inserted[number].ids[:: chance.choice([1, 2, 3])]
        request = pb.DeleteEntriesRequest(
            memory="pets", ids=ids, request_id=f"{self.name} delete {number}"
        )
        if chance.random() < 0.6:
            self._send(Write(call("DeleteEntries", request), ids), self.deleted)

    def _send(self, write: Write, log: list[Write]) -> None:
        log.append(write)
        write.answer = write.send(self.server.stub)


def to_rows(chance: random.Random, ids: list[str]) -> pb.EntryBatch:
    rows = np.random.default_rng(chance.randrange(2**32)).normal(size=(len(ids), 16))
    return to_batch(rows, ids)


def call(method: str, request: Any) -> Callable[[Any], bytes]:
    """Sends this request, now and when it is repeated."""

    def send(stub: Any) -> bytes:
        data: bytes = getattr(stub, method)(request).SerializeToString(deterministic=True)
        return data

    return send


def again(start: pb.ImportStart, step: pb.ImportBatch) -> Callable[[Any], bytes]:
    """Sends one batch of an import in a stream of its own."""

    def send(stub: Any) -> bytes:
        requests = [pb.ImportEntriesRequest(start=start), pb.ImportEntriesRequest(batch=step)]
        *_, last = stub.ImportEntries(iter(requests))
        data: bytes = last.SerializeToString(deterministic=True)
        return data

    return send


def check(stored: set[str], writers: Writers) -> None:
    """Each batch and each delete was done as a whole or not at all, and surely if acknowledged."""
    deleted = {id for write in writers.deleted for id in write.ids}
    for write in writers.inserted + writers.imported:
        kept = set(write.ids) - deleted
        assert kept & stored in (set(), kept)
        assert write.answer is None or kept <= stored
    for write in writers.deleted:
        left = set(write.ids) & stored
        assert left in (set(), set(write.ids))
        assert write.answer is None or not left


def test_what_was_acknowledged_outlives_any_kill(start: Start) -> None:
    chance = random.Random(random.random())
    server = start()
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=16))
    pets, before, acknowledged = RemoteMemory(server, "pets"), set[str](), 0

    for round in range(ROUNDS):
        writers = Writers(server, f"round {round}", chance)
        writers.until_killed(chance.uniform(0.02, SECONDS_MAX))
        server.start()

        stored = set(pets.ids())
        assert before <= stored
        check(stored, writers)
        for write in writers.inserted + writers.imported + writers.deleted:
            if write.answer is not None:
                assert write.send(server.stub) == write.answer
                acknowledged += 1
        assert set(pets.ids()) == stored
        before = stored

    assert acknowledged >= 3 * ROUNDS
