"""A memory of scenes, in this process, so that a test can write while an operation runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np

from visual_memory_index import Entry, Memory, unit_rows
from visual_memory_index.store.store import new_identity
from visual_memory_service.runtime.operations import Job

TAKES = 4  # entries of a scene, which look alike


@contextmanager
def filmed(folder: Path, scenes: range = range(30)) -> Iterator[Memory]:
    """Yield a memory of these scenes, of which every second one is of cats."""
    memory = Memory.create(folder / "film.sqlite", new_identity("film", 8, None))
    try:
        film(memory, scenes)
        yield memory
    finally:
        memory.close()


def film(memory: Memory, scenes: range) -> None:
    """Insert four entries of each of these scenes, which end in the number of the scene."""
    rng = np.random.default_rng(scenes.start)
    rows = np.repeat(rng.normal(size=(len(scenes), 8)), TAKES, axis=0)
    rows += 0.01 * rng.normal(size=rows.shape)
    entries = [
        Entry(f"{take} {scene:03}", ("cat", "dog")[scene % 2], metadata={"scene": f"{scene}"})
        for scene in scenes
        for take in range(TAKES)
    ]
    memory.insert(entries, unit_rows(rows.astype(np.float32)))


class Watched(Job):
    """A job that calls ``reported`` with its progress, in place of keeping that."""

    reported: Callable[[int, int], None]

    def report_progress(self, done: int, total: int) -> None:
        self.reported(done, total)


def watched(memory: Memory, kind: str, reported: Callable[[int, int], None]) -> Watched:
    """Return a new operation of this ``kind`` that has begun."""
    job = Watched(memory.operations.begin(kind).operation, memory)
    job.reported = reported
    return job


def filming(memory: Memory, kind: str) -> Watched:
    """Return an operation in the course of which scenes are filmed, whenever it reports."""
    scenes = count(1000 * memory.revision)

    def reported(done: int, total: int) -> None:
        scene = next(scenes)
        film(memory, range(scene, scene + 1))

    return watched(memory, kind, reported)
