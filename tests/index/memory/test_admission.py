"""Filters admit in RAM the rows that the store alone would admit, whatever changes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import compress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.filters import branches, comparisons

from visual_memory_index import Entry, Memory, Query, parse, unit_rows
from visual_memory_index.memory import admission
from visual_memory_index.memory.admission import Behind, admitted
from visual_memory_index.records.filter import Comparison, Filter, Pattern
from visual_memory_index.store.store import Store, new_identity

VECTORS = unit_rows(np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32))
TEXTS = ["", *"aAb*?é😀\uffff", "a*", "[a]", "%", '"\\', "ab\n", "\ue000", "$.a", "aba"]

pruned = st.sampled_from(
    [
        Comparison("pruned_by", "=", Pattern(("", ""))),
        Comparison("pruned_by", "!=", "m/1"),
        Comparison("pruned_by", "<", "z"),
    ]
)
filters: st.SearchStrategy[Filter] = st.recursive(comparisons | pruned, branches, max_leaves=6)
entries = st.lists(
    st.builds(
        Entry,
        st.sampled_from(TEXTS[1:]),
        st.sampled_from(TEXTS),
        metadata=st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(TEXTS), max_size=3),
    ),
    max_size=8,
    unique_by=lambda entry: entry.id,
)
some_ids = st.lists(st.sampled_from(TEXTS[1:]), unique=True, max_size=5)
steps = st.one_of(
    st.tuples(st.just("insert"), entries),
    st.tuples(st.just("delete"), some_ids),
    st.tuples(st.just("prune"), some_ids),
    st.tuples(st.just("relabel"), st.dictionaries(some_ids.map("".join), st.sampled_from(TEXTS))),
)


def parsed(text: str) -> Filter:
    filter = parse(text)
    assert filter is not None
    return filter


@contextmanager
def memory_of(count: int = 0) -> Iterator[Memory]:
    """Yield a memory of ``count`` entries, every third a dog, every other from the web."""
    with tempfile.TemporaryDirectory() as folder:
        made = Memory.create(Path(folder) / "m.sqlite", new_identity("m", 4, None))
        with closing(made) as memory:
            rows = [
                Entry(
                    f"{at}",
                    "cat" if at % 3 else "dog",
                    metadata={"from": "camera" if at % 2 else "web"},
                )
                for at in range(count)
            ]
            memory.insert(rows, VECTORS[:count])
            yield memory


def change(memory: Memory, kind: str, what: object) -> None:
    there = set(memory.ids())
    match kind, what:
        case "insert", list(new):
            memory.insert(new, VECTORS[: len(new)], replace_existing=True)
        case "delete", list(ids):
            memory.delete(ids, allow_missing=True)
        case "prune", list(ids):
            voting = [*compress(ids, memory.votes(ids))]
            name = memory.operations.begin("prune").operation.name
            memory.operations.prune(voting, operation=name, result=lambda pruned: "{}")
        case "relabel", dict(labels):
            for id in labels.keys() & there:
                memory.update(id, label=labels[id], metadata={"a": labels[id]})


def in_ram(memory: Memory, filter: Filter) -> list[int]:
    """Return the keys of the rows that are admitted."""
    with memory._engine.reading_ram() as ram:
        rows = admitted(filter, ram, memory._engine.store)
        assert rows.size == len(ram)
        return sorted(ram.keys_of_rows()[rows.rows()].tolist())


def in_store(memory: Memory, filter: Filter) -> list[int]:
    """Return the keys that the store answers with, but those of pruned entries."""
    _, keys = memory._engine.store.keys(filter)
    with memory._engine.reading_ram() as ram:
        return sorted(set(keys.tolist()) & set(ram.keys_of_rows().tolist()))


@settings(max_examples=60, deadline=None)
@given(st.lists(filters, min_size=1, max_size=4), st.lists(steps, max_size=6))
def test_rows_in_ram_are_those_of_the_store_after_every_change(
    asked: list[Filter], changes: list[tuple[str, object]]
) -> None:
    with memory_of() as memory:
        for kind, what in [("insert", [Entry(id, id) for id in "abA"]), *changes]:
            change(memory, kind, what)
            for filter in asked:
                assert in_ram(memory, filter) == in_store(memory, filter)
                assert in_ram(memory, filter) == in_store(memory, filter)  # kept by now


class Reading:
    """A store that counts the filters that it answers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[Filter] = []

    def keys(self, filter: Filter) -> tuple[int, NDArray[np.int64]]:
        self.asked.append(filter)
        return self._store.keys(filter)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@pytest.fixture
def memory() -> Iterator[Memory]:
    with memory_of(60) as made:
        yield made


@pytest.fixture
def reading(memory: Memory) -> Reading:
    store = Reading(memory._engine.store)
    memory._engine.store = store  # type: ignore[assignment]
    return store


def count(memory: Memory, filter: str, **query: object) -> int:
    (found,) = memory.nearest([Query(VECTORS[:1], 99, parsed(filter), **query)])  # type: ignore[arg-type]
    return len(found.ids[0])


def test_labels_and_ids_are_not_asked_of_the_store(memory: Memory, reading: Reading) -> None:
    assert count(memory, "label = dog") == 20
    assert count(memory, "label : o OR id = 1") == 21
    assert count(memory, "NOT (label = dog OR id = 1) NOT pruned_by:*") == 39
    assert not reading.asked


def test_an_answer_of_the_store_is_kept_until_an_entry_changes(
    memory: Memory, reading: Reading
) -> None:
    web = parsed("metadata.from = web")
    for _ in range(3):
        assert count(memory, "metadata.from = web") == 30
        assert count(memory, "metadata.from = web AND label = dog") == 10
        assert count(memory, "metadata.from = web", exclude_ids=["0", "1"]) == 29
    assert reading.asked == [web]

    memory.update("0", metadata={})
    assert count(memory, "metadata.from = web") == 29
    assert reading.asked == [web, web]


def test_rows_that_the_store_finds_in_a_later_state_are_not_used(
    memory: Memory, reading: Reading
) -> None:
    with memory._engine.reading_ram() as ram:
        ram.revision -= 1
        with pytest.raises(Behind):
            admitted(parsed("metadata.from = web"), ram, memory._engine.store)
        ram.revision += 1
        assert len(ram.answers) == 0


def test_nothing_of_a_filter_is_kept_once_the_caches_are_dropped(memory: Memory) -> None:
    count(memory, "id = somebody OR metadata.from = web")
    with memory._engine.reading_ram() as ram:
        assert len(ram.answers) == 2

    memory.unlearning.drop_caches()

    with memory._engine.reading_ram() as ram:
        assert len(ram.answers) == 0


def test_labels_of_admitted_rows_are_counted(memory: Memory) -> None:
    web = parsed("metadata.from = web")
    with memory._engine.reading_ram() as ram:
        rows = admission.find(web, ram, memory._engine.store)

        counts = ram.count_labels(rows.without(ram.rows_of_ids(["0", "2"])), np.arange(0))

    assert counts == {"dog": 9, "cat": 19}
