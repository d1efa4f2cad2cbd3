"""After any history, no backup restores an entry that was unlearned since."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import folder_in_ram

from visual_memory_index import WITHOUT_ID, Catalog, Entry, Memory

FOLDERS = ("here", "there")
IDS = ("a", "b", "c", "d", "e")
VECTOR = np.array([[0.6, 0.8]], np.float32)
MEMORIES_MAX = 4

ids = st.sets(st.sampled_from(IDS), min_size=1, max_size=3)


@dataclass
class Kept:
    """A memory's folder and the label of each id; copies and restored backups share a ``uid``."""

    folder: str
    uid: int
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Backup:
    """A backup and its expected content; ``time`` is the number of actions before it."""

    folder: str
    time: int
    uid: int
    labels: dict[str, str]
    data: bytes


class History:
    """Two data folders, and an oracle that notes when each entry was unlearned in each."""

    def __init__(self) -> None:
        self.work = folder_in_ram()
        self.catalogs: dict[str, Catalog] = {}
        self.memories: dict[str, Memory] = {}
        self.model: dict[str, Kept] = {}
        self.backups: list[Backup] = []
        self.unlearned: dict[tuple[str, int, str], int] = {}
        self.digests: dict[tuple[tuple[str, str], ...], str] = {}
        self.time = 0
        for folder in FOLDERS:
            self.open(folder)
            self.create(folder)

    def end(self) -> None:
        for folder in FOLDERS:
            self.close(folder)
        self.work.cleanup()

    def open(self, folder: str) -> None:
        catalog = self.catalogs[folder] = Catalog(Path(self.work.name) / folder)
        for name in catalog.names():
            self.memories[name] = catalog.open(name)

    def close(self, folder: str) -> None:
        for name in self.catalogs[folder].names():
            if name in self.memories:  # or a restore went wrong
                self.memories.pop(name).close()
        self.catalogs.pop(folder).close()

    def create(self, folder: str) -> None:
        name = self.new_name()
        memory = self.catalogs[folder].create(name, dimension=2, embedder=None)
        assert memory is not None
        self.add(name, memory, Kept(folder, self.time))
        self.insert(len(self.model) - 1, set(IDS))

    def add(self, name: str, memory: Memory, kept: Kept) -> None:
        """Add a memory; drop the oldest if there are too many."""
        self.memories[name], self.model[name] = memory, kept
        if len(self.model) > MEMORIES_MAX:
            oldest, memory, kept = self.picked(0)
            memory.close()
            self.catalogs[kept.folder].drop(oldest)
            del self.memories[oldest], self.model[oldest]

    def new_name(self) -> str:
        self.time += 1
        return f"memory-{self.time}"

    def picked(self, number: int) -> tuple[str, Memory, Kept]:
        name = list(self.model)[number % len(self.model)]
        return name, self.memories[name], self.model[name]

    def forget(self, kept: Kept, ids: set[str]) -> None:
        kept.labels = {id: label for id, label in kept.labels.items() if id not in ids}

    def insert(self, number: int, ids: set[str]) -> None:
        _, memory, kept = self.picked(number)
        self.time += 1
        label = f"label {self.time % 3}"
        entries = [Entry(id, label, content_sha256=bytes(32)) for id in sorted(ids)]
        memory.insert(entries, np.repeat(VECTOR, len(ids), 0), replace_existing=True)
        kept.labels = {**kept.labels, **dict.fromkeys(ids, label)}

    def delete(self, number: int, ids: set[str]) -> None:
        _, memory, kept = self.picked(number)
        memory.delete(sorted(ids), allow_missing=True)
        self.forget(kept, ids)

    def unlearn(self, number: int, ids: set[str]) -> None:
        """Unlearn entries; sometimes back up, or restart, between request and deletion."""
        name, memory, kept = self.picked(number)
        catalog = self.catalogs[kept.folder]

        def none() -> str:
            catalog.mark_unlearned(memory, sorted(ids), None)
            return "{}"

        begun = memory.unlearning.begin(sorted(ids), allow_missing=True, none=none).operation
        self.forget(kept, ids)
        if number % 3 == 0:
            self.back_up(number, ids)
        if number % 4 == 0:
            self.restart(kept.folder)
            memory = self.memories[name]
            assert memory.operations.unfinished("unlearn") == [begun][: begun.state == "running"]
        if begun.state == "running":
            self.catalogs[kept.folder].mark_unlearned(
                memory, memory.unlearning.ids(begun.name), begun.name
            )
            memory.unlearning.erase(begun.name, settings=(), draft=lambda facts: "{}")
            memory.operations.end(begun.name, "done", result="{}")
        self.time += 1
        for id in ids:
            self.unlearned[kept.folder, kept.uid, id] = self.time

    def restart(self, folder: str) -> None:
        self.close(folder)
        self.open(folder)

    def back_up(self, number: int, ids: set[str]) -> None:
        _, memory, kept = self.picked(number)
        catalog = self.catalogs[kept.folder]
        with catalog.backup(memory, settings=(), check=lambda: None) as file:
            data = file.read()
        self.time += 1
        self.backups.append(Backup(kept.folder, self.time, kept.uid, kept.labels, data))

    def restore(self, number: int, ids: set[str]) -> None:
        if not self.backups:
            self.back_up(number, ids)
        backup, folder = self.backups[number % len(self.backups)], FOLDERS[number // 7 % 3 == 0]
        since = backup.time if backup.folder == folder else -1
        left = {
            id: label
            for id, label in backup.labels.items()
            if self.unlearned.get((folder, backup.uid, id), -1) <= since
        }
        name, catalog = self.new_name(), self.catalogs[folder]
        with catalog.arrival() as arrival:
            arrival.write(backup.data)
            arrival.finish()
            with catalog.rebuilt(arrival, name, settings=(), check=lambda: None) as rebuilt:
                memory = catalog.adopt(rebuilt, rebuilt.left_out, WITHOUT_ID)
        assert memory is not None
        assert rebuilt.left_out == len(backup.labels) - len(left)
        self.add(name, memory, Kept(folder, backup.uid, left))

    def copy(self, number: int, ids: set[str]) -> None:
        _, memory, kept = self.picked(number)
        new_name, catalog = self.new_name(), self.catalogs[kept.folder]
        with catalog.copied(memory, new_name, settings=(), check=lambda: None) as rebuilt:
            copied = catalog.adopt(rebuilt, rebuilt.left_out, WITHOUT_ID)
        assert copied is not None
        self.add(new_name, copied, Kept(kept.folder, kept.uid, kept.labels))

    def check(self) -> None:
        """Check that each memory holds what it should, and that equal sets have equal digests."""
        for name, memory in self.memories.items():
            entries = memory.entries(limit=100).entries
            assert {each.id: each.label for each in entries} == self.model[name].labels
            digest, kept = memory.check().digest, tuple(sorted(self.model[name].labels.items()))
            assert self.digests.setdefault(kept, digest) == digest


STEPS = (
    History.insert,
    History.delete,
    History.unlearn,
    History.unlearn,
    History.back_up,
    History.restore,
    History.restore,
    History.copy,
)
steps = st.tuples(st.sampled_from(STEPS), st.integers(0, 99), ids)


@settings(max_examples=int(os.environ.get("HISTORIES", "15")))
@given(history=st.lists(steps, min_size=10, max_size=20))
def test_nothing_that_was_unlearned_comes_back_in_random_histories(
    history: list[tuple[Callable[[History, int, set[str]], None], int, set[str]]],
) -> None:
    run = History()
    try:
        for step, number, ids in history:
            step(run, number, ids)
            run.check()
    finally:
        run.end()
