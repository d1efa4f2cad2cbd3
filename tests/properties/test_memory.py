"""After any history and restarts, a memory holds and finds what a dict would."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

from visual_memory_index import (
    Entry,
    Filter,
    Memory,
    Query,
    Request,
    ScannedIndexes,
    parse,
    unit_rows,
)
from visual_memory_index.errors import EntriesExist, RequestReused, UnknownEntries, WrongOffset
from visual_memory_index.ram import ram_copy
from visual_memory_index.records.entry import Parts
from visual_memory_index.scan.vectors import Originals
from visual_memory_index.store.store import new_identity

Vector = tuple[float, ...]
Answer = list[tuple[str, str, float]]

IDS = ["a", "b", "c", "d", "e", "B", "aa", "é", "\uffff", "😀"]
LABELS = ["cat", "dog", "0"]
SOURCES = ["", "web", "film"]

ids = st.sampled_from(IDS)
labels = st.sampled_from(LABELS)
sources = st.sampled_from(SOURCES)
requests = st.none() | st.integers(0, 3).map(str)
coordinates = st.sampled_from([-1.0, 0.0, 1.0, 1.0000001, 0.9999999, 3.0])
vectors = st.tuples(coordinates, coordinates, coordinates).filter(any)
rows = st.tuples(ids, labels, sources, vectors)


@dataclass(frozen=True)
class Kept:
    """The dict's record of an entry."""

    label: str
    source: str
    vector: Vector

    @property
    def metadata(self) -> dict[str, str]:
        return {"source": self.source} if self.source else {}


# Filters as text, and what each admits.
FILTERS: dict[str, Callable[[str, Kept], bool]] = {
    'label = "cat"': lambda _, kept: kept.label == "cat",
    'label = "0"': lambda _, kept: kept.label == "0",
    'NOT label = "cat"': lambda _, kept: kept.label != "cat",
    "metadata.source = web": lambda _, kept: kept.source == "web",
    "metadata:source label = dog": lambda _, kept: bool(kept.source) and kept.label == "dog",
    'id >= "b"': lambda id, _: id.encode() >= b"b",
    'label = "owl"': lambda *_: False,
}
filters = st.sampled_from(sorted(FILTERS))


def parsed(text: str) -> Filter:
    filter = parse(text)
    assert filter is not None
    return filter


def unit(vector: Vector) -> NDArray[np.float32]:
    return unit_rows(np.array([vector], np.float32))


def distance(query: Vector, vector: Vector) -> float:
    """Return 1 − cosine by plain floats: the upper half is added to the lower until one is left."""
    rows = unit(query)[0].tolist(), unit(vector)[0].tolist()
    terms: list[float] = [a * b for a, b in zip(*rows, strict=True)]
    while len(terms) > 1:
        half = (len(terms) + 1) // 2
        terms = [a if b is None else a + b for a, b in zip_longest(terms[:half], terms[half:])]
    return min(max(1.0 - terms[0], 0.0), 2.0)


class MemoryMachine(RuleBasedStateMachine):
    """Inserts, deletes, changes, restarts and searches at random; the oracle is ``model``."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.parts = patch.object(ram_copy, "PART_ROWS", 2)  # searches come between removals
        self.parts.start()
        self.path = Path(self.folder.name) / "m.sqlite"
        self.memory = Memory.create(self.path, new_identity("m", 3, None))
        self.model: dict[str, Kept] = {}
        self.requests: dict[str, tuple[bytes, list[str]]] = {}
        self.imported: list[str] = []

    def teardown(self) -> None:
        self.memory.close()
        self.parts.stop()
        self.folder.cleanup()

    @initialize(batch=st.lists(rows, max_size=10, unique_by=lambda row: row[0]))
    def begin(self, batch: list[tuple[str, str, str, Vector]]) -> None:
        self.insert(batch, replace_existing=False, name=None)

    @rule(
        batch=st.lists(rows, max_size=5, unique_by=lambda row: row[0]),
        replace_existing=st.booleans(),
        name=requests,
    )
    def insert(
        self,
        batch: list[tuple[str, str, str, Vector]],
        replace_existing: bool,
        name: str | None,
    ) -> None:
        new = {id: Kept(label, source, vector) for id, label, source, vector in batch}
        entries = [Entry(id, kept.label, metadata=kept.metadata) for id, kept in new.items()]
        columns = np.array([kept.vector for kept in new.values()], np.float32)
        matrix = unit_rows(columns.reshape(len(new), 3))
        existing = [id for id in new if id in self.model]

        def run(request: Request) -> list[str]:
            return self.memory.insert(
                entries, matrix, request=request, replace_existing=replace_existing
            )

        content = f"insert {batch} {replace_existing}".encode()
        if self.answers_as_before(name, content, run):
            return
        if existing and not replace_existing:
            with pytest.raises(EntriesExist) as refusal:
                run(self.request(name, content))
            assert list(refusal.value.ids) == existing
            return
        self.done(name, content, run(self.request(name, content)), list(new))
        self.model |= new

    @rule(some=st.lists(ids, max_size=5), allow_missing=st.booleans(), name=requests)
    def delete(self, some: list[str], allow_missing: bool, name: str | None) -> None:
        known = [id for id in dict.fromkeys(some) if id in self.model]
        unknown = [id for id in dict.fromkeys(some) if id not in self.model]
        content = f"delete {some} {allow_missing}".encode()

        def run(request: Request) -> list[str]:
            return self.memory.delete(some, allow_missing=allow_missing, request=request)

        if self.answers_as_before(name, content, run):
            return
        if unknown and not allow_missing:
            with pytest.raises(UnknownEntries) as refusal:
                run(self.request(name, content))
            assert list(refusal.value.ids) == unknown
            return
        self.done(name, content, run(self.request(name, content)), known)
        self.forget(known)

    @rule(text=filters, name=requests)
    def purge(self, text: str, name: str | None) -> None:
        admitted = self.admitted(text)
        content = f"purge {text}".encode()

        def run(request: Request) -> list[str]:
            return self.memory.purge(parsed(text), request=request)

        assert self.memory.would_purge(parsed(text)) == admitted
        if self.answers_as_before(name, content, run):
            return
        self.done(name, content, run(self.request(name, content)), admitted)
        self.forget(admitted)

    @rule(id=ids, label=st.none() | labels, source=st.none() | sources)
    def update(self, id: str, label: str | None, source: str | None) -> None:
        metadata = None if source is None else {"source": source} if source else {}
        if id not in self.model:
            with pytest.raises(UnknownEntries):
                self.memory.update(id, label=label, metadata=metadata)
            return
        old = self.model[id]
        self.model[id] = Kept(
            old.label if label is None else label,
            old.source if source is None else source,
            old.vector,
        )
        changed = self.memory.update(id, label=label, metadata=metadata)
        assert (changed.label, changed.metadata) == (self.model[id].label, self.model[id].metadata)

    @rule(count=st.integers(1, 3), label=labels, vector=vectors, off=st.sampled_from([0, 0, 1, -1]))
    def import_batch(self, count: int, label: str, vector: Vector, off: int) -> None:
        off = off if self.imported else abs(off)
        start = len(self.imported) + off
        new = [f"import {start + number}" for number in range(count)]
        request = Request("import", f"{new} {label} {vector} {off}".encode(), start)

        def run() -> list[str]:
            entries = [Entry(id, label) for id in new]
            matrix = np.repeat(unit(vector), count, axis=0)
            return self.memory.insert(entries, matrix, request=request)

        if off:
            with pytest.raises((WrongOffset, RequestReused)):
                run()
            return
        assert run() == run() == new
        self.imported += new
        self.model |= {id: Kept(label, "", vector) for id in new}

    @rule(threads=st.sampled_from([1, 2]), originals=st.sampled_from(["ram", "disk"]))
    def restart(self, threads: int, originals: Originals) -> None:
        self.memory.close()
        self.memory = Memory.open(self.path, indexes=ScannedIndexes(threads, originals))

    @rule(
        n=st.sampled_from([1, 7, 64]),
        seed=st.lists(vectors, min_size=1, max_size=7),
        k=st.integers(1, 12) | st.just(2000),
        text=st.none() | filters,
        exclude_ids=st.lists(ids, max_size=4),
    )
    def search(
        self,
        n: int,
        seed: list[Vector],
        k: int,
        text: str | None,
        exclude_ids: list[str],
    ) -> None:
        queries = [seed[number % len(seed)] for number in range(n)]
        matrix = np.concatenate([unit(query) for query in queries])

        query = Query(matrix, k, parsed(text) if text else None, exclude_ids)
        everyone = Query(matrix[:1], 2)
        found, nearest_two = self.memory.nearest([query, everyone])

        left = set(self.model if text is None else self.admitted(text)) - set(exclude_ids)
        for number, vector in enumerate(queries):
            columns = (found.ids[number], found.labels[number], found.distances[number].tolist())
            assert list(zip(*columns, strict=True)) == self.nearest(vector, k, left)
        assert nearest_two.ids[0].tolist() == [
            id for id, *_ in self.nearest(queries[0], 2, self.model)
        ]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.model)))
        entry = self.memory.entry(id, Parts.VECTOR)
        assert entry.vector is not None
        assert entry.vector.tobytes() == unit(self.model[id].vector).tobytes()

    @invariant()
    def holds_what_was_acknowledged(self) -> None:
        stored = [
            (entry.id, entry.label, entry.metadata)
            for entry in self.memory.entries(limit=9999).entries
        ]
        assert stored == [
            (id, self.model[id].label, self.model[id].metadata)
            for id in sorted(self.model, key=str.encode)
        ]

    @invariant()
    def counts_what_it_holds(self) -> None:
        info = self.memory.info()
        assert info.count == self.memory.count == len(self.model)
        assert info.label_counts == Counter(kept.label for kept in self.model.values())

    @invariant()
    def knows_the_offset_of_the_import(self) -> None:
        batches = self.memory.stored_batches("import")
        assert [id for batch in batches for id in batch.ids] == self.imported

    def request(self, name: str | None, content: bytes) -> Request:
        return Request(name or "", content)

    def answers_as_before(
        self, name: str | None, content: bytes, run: Callable[[Request], list[str]]
    ) -> bool:
        """Return True if the request was answered before, and check that its answer is the same."""
        if name not in self.requests:
            assert self.memory.recall(self.request(name, content)) is None
            return False
        assert name is not None
        known, answer = self.requests[name]
        with pytest.raises(RequestReused):
            run(Request(name, known + b" and more"))
        if content != known:
            with pytest.raises(RequestReused):
                run(Request(name, content))
        assert run(Request(name, known)) == answer
        assert self.memory.recall(Request(name, known)) == answer
        return True

    def done(self, name: str | None, content: bytes, got: list[str], want: list[str]) -> None:
        assert got == want
        if name is not None:
            self.requests[name] = (content, got)

    def forget(self, gone: Iterable[str]) -> None:
        for id in gone:
            del self.model[id]

    def admitted(self, text: str) -> list[str]:
        admits = FILTERS[text]
        return sorted(id for id, kept in self.model.items() if admits(id, kept))

    def nearest(self, query: Vector, k: int, among: Iterable[str]) -> Answer:
        ranking = sorted((distance(query, self.model[id].vector), id.encode(), id) for id in among)
        return [(id, self.model[id].label, distance) for distance, _, id in ranking[:k]]


def test_a_memory_holds_and_finds_what_a_dict_would() -> None:
    run_state_machine_as_test(
        MemoryMachine, settings=settings(max_examples=40, stateful_step_count=25)
    )
