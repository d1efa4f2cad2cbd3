"""Misleading counts after thousands of edits, with restarts, against a count from scratch."""

from __future__ import annotations

import os
import random
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Entry, Memory, unit_rows
from visual_memory_index.records.entry import Parts
from visual_memory_index.rows.distances import exact_distances
from visual_memory_index.store.store import new_identity

EDITS = int(os.environ.get("EDITS", "600"))
LOOKS, RESTARTS = EDITS // 10, 10
DIMENSION = 8


def from_scratch(memory: Memory, k: int) -> dict[str, tuple[int, int]]:
    """Count by sorting, for each voting entry, all others by exact distance and id."""
    entries = [e for e in memory.entries(limit=9999, parts=Parts.VECTOR).entries if not e.pruned_by]
    rows: NDArray[np.float32] = np.array([entry.vector for entry in entries], np.float32)
    v, c = dict.fromkeys([e.id for e in entries], 0), dict.fromkeys([e.id for e in entries], 0)
    for at, entry in enumerate(entries):
        distances = exact_distances(rows[at], rows)
        distances[at] = np.inf
        for near in np.argsort(distances, kind="stable")[: min(k, len(entries) - 1)]:
            other = entries[near]
            (c if other.label == entry.label else v)[other.id] += 1
    return {id: (v[id], c[id]) for id in v}


def test_counts_are_those_of_a_fresh_start_after_thousands_of_edits(tmp_path: Path) -> None:
    chance, rng = random.Random(0), np.random.default_rng(0)
    path = tmp_path / "m.sqlite"
    memory = Memory.create(path, new_identity("m", DIMENSION, None))
    looks = set(chance.sample(range(EDITS), LOOKS))
    restarts = set(chance.sample(range(EDITS), RESTARTS))
    # A third of all vectors are copies of each other, so that ids decide.
    pool = unit_rows(rng.normal(size=(40, DIMENSION)).astype(np.float32))
    stored: list[str] = []
    operations: list[str] = []
    for number in range(EDITS):
        kind = chance.choice(["insert"] * 4 + ["delete", "delete", "relabel", "prune", "undo"])
        if kind == "insert" or len(stored) < 30:
            fresh = unit_rows(rng.normal(size=(1, DIMENSION)).astype(np.float32))
            row = fresh if chance.random() < 0.67 else pool[[chance.randrange(40)]]
            id = chance.choice(stored) if stored and chance.random() < 0.1 else f"{number:05}"
            memory.insert([Entry(id, chance.choice("abc"))], row, replace_existing=True)
            stored = sorted({*stored, id})
        elif kind == "delete" and len(stored) > 120:
            gone = chance.sample(stored, chance.randint(1, 3))
            memory.delete(gone)
            stored = sorted(set(stored) - set(gone))
        elif kind == "relabel":
            memory.update(chance.choice(stored), label=chance.choice("abc"))
        elif kind == "prune":
            some = chance.sample(stored, 4)
            taken = [*compress(some, memory.votes(some))]
            operations.append(memory.operations.begin("prune").operation.name)
            memory.operations.prune(taken, operation=operations[-1], result=str)
        elif operations:
            memory.operations.undo(operations.pop(chance.randrange(len(operations))))
        if number in restarts:
            memory.close()
            memory = Memory.open(path)
        if number in looks:
            k = chance.choice([1, 5, 20])
            found = memory.misleading_counts(k)
            counts = zip(found.ids, found.v.tolist(), found.c.tolist(), strict=True)
            assert {id: (v, c) for id, v, c in counts} == from_scratch(memory, k)
    memory.close()
