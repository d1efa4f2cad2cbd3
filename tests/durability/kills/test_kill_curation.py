"""kill -9 at random moments during prunes, undos, counts and calibrations: nothing half applied."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tests.conftest import Server
from tests.durability.kills.test_kill import ROUNDS, SECONDS_MAX

import visual_memory
from visual_memory import Client, Error, Memory, Operation, PruneResult

if TYPE_CHECKING:
    from tests.conftest import Start

COUNT = 400
IDS = [f"{number:03}" for number in range(COUNT)]
LABELS = [str(number % 5) for number in range(COUNT)]
ROWS = np.random.default_rng(0).normal(size=(COUNT, 16)) + np.eye(16)[[n % 5 for n in range(COUNT)]]


class Hands:
    """Two threads that prune, undo, count and calibrate until the server is killed.

    ``pruned`` and ``undone`` hold the acknowledged operations.
    """

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server = server
        self._chances = [random.Random(chance.random()) for _ in range(2)]
        self._over = threading.Event()
        self.pruned: dict[str, list[str]] = {}
        self.undone: set[str] = set()

    def until_killed(self, seconds: float) -> None:
        """Work for ``seconds``, then kill the server."""
        threads = [threading.Thread(target=self._run, args=(each,)) for each in self._chances]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._server.process.send_signal(signal.SIGKILL)
        self._over.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        self._server.wait()

    def _run(self, chance: random.Random) -> None:
        with visual_memory.connect(self._server.address, timeout=0.5) as client:
            crowd = client.memory("crowd")
            while not self._over.is_set():
                try:
                    self._act(crowd, chance)
                except Error:
                    if self._over.wait(0.01):
                        return

    def _act(self, crowd: Memory, chance: random.Random) -> None:
        kind = chance.choice(["prune", "prune", "undo", "counts", "calibrate"])
        if kind == "prune":
            fraction, seed = chance.uniform(0.01, 0.1), chance.randrange(99)
            done = crowd.prune(method="random", fraction=fraction, seed=seed, apply=True)
            self.pruned[done.operation] = done.ids
        elif kind == "undo":
            if open_ := [name for name in self.pruned if name not in self.undone]:
                name = chance.choice(open_)
                crowd.undo(name)
                self.undone.add(name)
        elif kind == "counts":
            crowd.misleading_counts(chance.choice([3, 10]))
        else:
            crowd.calibrate(k=chance.choice([5, 20]))


def test_what_was_cut_short_changed_nothing(start: Start, tmp_path: Path) -> None:
    chance = random.Random(1)
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=16)
        crowd.insert(vectors=ROWS, labels=LABELS, ids=IDS)
    cut_short = 0
    for _ in range(ROUNDS):
        hands = Hands(server, chance)
        hands.until_killed(chance.uniform(0.05, SECONDS_MAX))
        server.start()
        with visual_memory.connect(server.address) as client:
            cut_short += check(client, hands)
            for operation in standing(client):
                client.memory("crowd").undo(operation.name)
            assert client.memory("crowd").info().pruned_count == 0
    assert cut_short or ROUNDS < 20


def standing(client: Client) -> list[Operation]:
    """Return the prunes that are done and not undone."""
    return [
        operation
        for operation in client.operations("crowd")
        if operation.kind == "prune" and operation.state == "done" and not operation.undo_time
    ]


def check(client: Client, hands: Hands) -> int:
    """Check that acknowledged operations are done, and others wholly or not at all.

    Return the number of operations that were cut short.
    """
    operations = {each.name: each for each in client.operations("crowd")}
    assert all(each.state in ("done", "failed") for each in operations.values())
    failed = [each for each in operations.values() if each.state == "failed"]
    assert all("server stopped" in each.problem for each in failed)
    assert all(operations[name].state == "done" for name in hands.pruned)
    assert all(operations[name].undo_time for name in hands.undone)
    taken = {entry.id: entry.pruned_by for entry in client.memory("crowd").entries("pruned_by:*")}
    expected: dict[str, str] = {}
    for operation in standing(client):
        result = client.operation(operation.name).result
        assert isinstance(result, PruneResult)
        expected |= dict.fromkeys(result.ids, operation.name)
    assert taken == expected
    counts = client.memory("crowd").misleading_counts(10)
    assert sorted(counts) == sorted(set(IDS) - set(taken))
    return len(failed)
