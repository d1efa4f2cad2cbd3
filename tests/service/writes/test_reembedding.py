"""A re-embedding waits for room, and replaces nothing that changed meanwhile, however it did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.service.slow import write_network
from tests.service.writes.test_reembed import picture

from visual_memory_index import REEMBED, WITHOUT_ID, Entry, Memory, Operation
from visual_memory_index.errors import DiskFull
from visual_memory_service.config import Settings
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Operations
from visual_memory_service.writes.reembed import FREE_TRIES, Reembedding

COUNT, SECONDS = 3, 60.0


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    settings = Settings(tmp_path / "data", allow_embedder=("onnx:*",))
    with closing(Memories(settings)) as memories:
        embedder = write_network(tmp_path / "quick.onnx")
        memories.create(
            "pets", embedder=embedder, dimension=None, store_images=True, request=WITHOUT_ID
        )
        pictures = [picture(seed) for seed in range(COUNT)]
        vectors = memories.embedders.get(embedder).embed(pictures)
        entries = [
            Entry(f"{at}", "a", content_sha256=sha256(each).digest(), image=each)
            for at, each in enumerate(pictures)
        ]
        with memories.using("pets") as served:
            served.memory.insert(entries, vectors)
        yield memories


@pytest.fixture
def reembedding(memories: Memories) -> Iterator[Reembedding]:
    with closing(Operations()) as operations:
        yield Reembedding(memories, operations, ())


def begun(reembedding: Reembedding, tmp_path: Path) -> tuple[Memory, Operation]:
    with reembedding.memories.using("pets") as served:
        other = write_network(tmp_path / "other.onnx", 0.0001)
        return served.memory, reembedding.begin(served.memory, other, "before", WITHOUT_ID)


def problem_of(reembedding: Reembedding, operation: Operation) -> str:
    """Return what an operation waits for, once it waits."""
    end = time.monotonic() + SECONDS
    while not (problem := reembedding.operations.problem(operation.name)):
        assert time.monotonic() < end
        time.sleep(0.01)
    return problem


def state_of(reembedding: Reembedding, operation: Operation) -> str:
    """Return the state of an operation once it has ended."""
    if (job := reembedding.operations.job(operation.name)) is not None:
        job.ended.result(SECONDS)
    with reembedding.memories.using("pets") as served:
        return served.memory.operations.get(operation.name).state


def full(*args: Any, **more: Any) -> Any:
    raise DiskFull(Path("pets"), "the disk is full")


@pytest.mark.parametrize("where", ["vectors", "copy"])
def test_where_the_disk_is_full_it_waits(
    reembedding: Reembedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with monkeypatch.context() as filling:
        if where == "vectors":
            with reembedding.memories.using("pets") as served:
                store = served.memory._engine.store
            filling.setattr(store, "keep_derived", full)
        else:
            filling.setattr(reembedding.memories.catalog, "replacing", full)
        _, operation = begun(reembedding, tmp_path)
        assert "the disk is full" in problem_of(reembedding, operation)

    assert state_of(reembedding, operation) == "done"
    assert reembedding.memories.names() == ["before", "pets"]


def test_a_copy_in_which_an_entry_was_unlearned_meanwhile_is_made_again(
    reembedding: Reembedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = reembedding.memories.catalog
    replacing, tries = catalog.replacing, list[Memory]()

    @contextmanager
    def meanwhile(memory: Memory, *parts: Any) -> Iterator[Any]:
        with replacing(memory, *parts) as put:
            if not tries:
                catalog.mark_unlearned(memory, ["0"], "pets-copy/1")
            tries.append(memory)
            yield put

    monkeypatch.setattr(catalog, "replacing", meanwhile)

    _, operation = begun(reembedding, tmp_path)

    assert state_of(reembedding, operation) == "done"
    assert len(tries) == 2


def test_one_that_is_cancelled_as_it_is_about_to_replace_does_not(
    reembedding: Reembedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = reembedding.memories
    replacing = memories.catalog.replacing

    @contextmanager
    def meanwhile(memory: Memory, *parts: Any) -> Iterator[Any]:
        with replacing(memory, *parts) as put:
            (operation,) = memory.operations.unfinished(REEMBED)
            with monkeypatch.context() as filling:  # so that the file does not change
                filling.setattr(memory._engine.writer, "do", full)
                memory.operations.end(operation.name, "cancelled")
            yield put

    monkeypatch.setattr(memories.catalog, "replacing", meanwhile)

    _, operation = begun(reembedding, tmp_path)

    assert state_of(reembedding, operation) == "cancelled"
    assert memories.names() == ["pets"]


def test_where_the_disk_is_full_at_the_end_it_lets_writes_in_as_it_waits(
    reembedding: Reembedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = reembedding.memories
    replacing, held = memories.catalog.replacing, list[bool]()

    @contextmanager
    def meanwhile(memory: Memory, *parts: Any) -> Iterator[Any]:
        held.append(memory._engine.writer._refusal is not None)
        if len(held) <= FREE_TRIES:
            with replacing(memory, *parts) as put:
                memory.update("0", label=f"label {len(held)}")
                yield put
        elif len(held) == FREE_TRIES + 1:
            full()
        else:
            with replacing(memory, *parts) as put:
                yield put

    monkeypatch.setattr(memories.catalog, "replacing", meanwhile)

    memory, operation = begun(reembedding, tmp_path)
    assert "the disk is full" in problem_of(reembedding, operation)
    memory.update("1", label="written meanwhile")

    assert state_of(reembedding, operation) == "done"
    assert held == [False] * FREE_TRIES + [True, False]
