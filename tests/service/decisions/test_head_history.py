"""Whatever was done to a memory, its heads decide to the bit as those of a fresh one."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tests.conftest import Server, Start

import visual_memory
from visual_memory import Client, Decision, Memory
from visual_memory_index import unit_rows

EDITS = int(os.environ.get("EDITS", "600")) // 3
EDITS_BETWEEN_QUESTIONS = 25
RESTARTS = 4
DIMENSION = 12
LABELS = [f"label {number}" for number in range(6)]
PLACES = np.random.default_rng(0).normal(size=(len(LABELS), DIMENSION))
QUERIES = unit_rows(np.random.default_rng(1).normal(size=(9, DIMENSION)).astype(np.float32))
RULES: list[dict[str, Any]] = [
    {"head": "means", "blend": 1.0},
    {"head": "discriminants", "ridge": 0.3, "blend": 1.0},
    {"head": "discriminants", "balance": 1.0, "blend": 0.3, "k": 7},
]


class History:
    """Random edits of a memory; each returns how many entries it changed."""

    memory: Memory

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.rng = np.random.default_rng(chance.randrange(2**32))
        self.made, self.undoable = 0, list[str]()

    def edit(self) -> int:
        edits = [self.insert, self.delete, self.update, self.relabel, self.prune]
        return self.chance.choices([*edits, self.undo, self.unlearn], [60, 20, 30, 8, 8, 10, 2])[
            0
        ]()

    def some_ids(self, most: int) -> list[str]:
        ids = [entry.id for entry in self.memory.entries()]
        return self.chance.sample(ids, min(len(ids), self.chance.randint(1, most)))

    def insert(self) -> int:
        count = self.chance.randint(1, 20)
        codes = self.rng.integers(0, len(LABELS), count)
        self.memory.insert(
            vectors=PLACES[codes] + self.rng.normal(size=(count, DIMENSION)),
            labels=[LABELS[code] for code in codes],
            ids=[f"{self.made + number:05}" for number in range(count)],
        )
        self.made += count
        return count

    def delete(self) -> int:
        ids = self.some_ids(12)
        return self.memory.delete(ids) if ids else 0

    def update(self) -> int:
        ids = self.some_ids(1)
        for id in ids:
            self.memory.update(id, label=self.chance.choice(LABELS))
        return len(ids)

    def relabel(self) -> int:
        labels = {id: self.chance.choice(LABELS) for id in self.some_ids(6)}
        if not labels:
            return 0
        self.undoable.append(self.memory.relabel(labels, apply=True).operation)
        return len(labels)

    def prune(self) -> int:
        voting = [entry.id for entry in self.memory.entries() if not entry.pruned_by]
        ids = self.chance.sample(voting, min(len(voting) // 2, self.chance.randint(1, 6)))
        if not ids:
            return 0
        self.undoable.append(self.memory.prune(method="ids", ids=ids, apply=True).operation)
        return len(ids)

    def undo(self) -> int:
        if not self.undoable:
            return 0
        at = self.chance.randrange(len(self.undoable))
        return self.memory.undo(self.undoable.pop(at))

    def unlearn(self) -> int:
        ids = self.some_ids(3)
        if ids:
            certificate = self.memory.unlearn(ids)  # there is none where a trace is left
            assert certificate.looked_for
            assert all(map(certificate.holds, ids))
        return len(ids)


def answers(memory: Memory) -> Iterator[Decision]:
    for rule in RULES:
        yield from memory.classify(vectors=QUERIES, **rule)


def check(client: Client, memory: Memory, chance: random.Random) -> None:
    """Compare the memory with a fresh one of the same voting entries, in another order."""
    voting = [each for each in memory.entries(include_vectors=True) if not each.pruned_by]
    if not voting:
        return
    chance.shuffle(voting)
    fresh = client.create_memory("fresh", dimension=DIMENSION)
    fresh.insert(
        vectors=np.stack([each.vector for each in voting if each.vector is not None]),
        labels=[each.label for each in voting],
        ids=[each.id for each in voting],
    )
    for one, other in zip(answers(memory), answers(fresh), strict=True):
        assert (one.label, one.confidence, one.scores) == (
            other.label,
            other.confidence,
            other.scores,
        )
        assert one.neighbors.ids == other.neighbors.ids
        assert one.neighbors.weights.tolist() == other.neighbors.weights.tolist()
    client.delete_memory("fresh")


def test_heads_are_those_of_a_fresh_memory_after_any_edits_and_restarts(
    start: Start, tmp_path: Path
) -> None:
    chance = random.Random(random.randrange(2**32))  # pytest-randomly's, so that it can be repeated
    server: Server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        client.create_memory("crowd", dimension=DIMENSION)
    history = History(chance)
    done = asked_at = 0
    for period in range(1, RESTARTS + 2):
        with visual_memory.connect(server.address) as client:
            history.memory = client.memory("crowd")
            while done < EDITS * period // (RESTARTS + 1):
                done += history.edit()
                if done - asked_at >= EDITS_BETWEEN_QUESTIONS:
                    check(client, history.memory, chance)
                    asked_at = done
            check(client, history.memory, chance)
        server.restart(number=chance.choice([signal.SIGTERM, signal.SIGKILL]))
    assert done >= EDITS
