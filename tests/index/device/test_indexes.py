"""A memory on a device answers as one in RAM does, and certificates name the device."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.index.devices import on_device

from visual_memory_index import Catalog, Entry, Query, ScannedIndexes, unit_rows
from visual_memory_index.device.device import Device
from visual_memory_index.device.indexes import DeviceIndex, DeviceIndexes
from visual_memory_index.errors import CorruptCopy, DeviceFailed
from visual_memory_index.records.request import WITHOUT_ID
from visual_memory_index.rows.rows import Rows
from visual_memory_index.scan.scanned_index import ScannedIndex


def test_a_memory_answers_as_in_ram_through_a_history_of_writes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        memories = []
        for name, indexes in (
            ("ram", ScannedIndexes(2)),
            ("device", DeviceIndexes(2, on_device(), few=0)),
        ):
            catalog = stack.enter_context(closing(Catalog(tmp_path / name, indexes)))
            memory = catalog.create(
                "m", dimension=16, embedder=None, store_images=False, request=WITHOUT_ID
            )
            assert memory is not None
            memories.append(stack.enter_context(closing(memory)))
        ids = list[str]()
        for turn in range(12):
            new = [f"{turn}.{number}" for number in range(int(rng.integers(1, 300)))]
            centres = rng.standard_normal((4, 16))[rng.integers(4, size=len(new))]
            noise = 10 ** rng.uniform(-9, 0) * rng.standard_normal((len(new), 16))
            vectors = unit_rows((centres + noise).astype(np.float32))
            gone = rng.choice(ids, size=len(ids) // 3, replace=False).tolist() if ids else []
            ids = [each for each in [*ids, *new] if each not in gone]
            queries = np.concatenate([vectors[:3], unit_rows(-centres[:2].astype(np.float32))])
            answers = []
            for memory in memories:
                memory.insert([Entry(id, "cat") for id in new], vectors)
                memory.delete(gone)
                found = memory.nearest(
                    [Query(queries, k) for k in (1, 5, 700)]
                    + [Query(queries[:1], 5, exclude_ids=ids[:9])]
                )
                answers.append([(each.ids.tolist(), each.distances.tolist()) for each in found])
            assert answers[0] == answers[1]
        there = memories[1]._engine.ram.vectors
        assert isinstance(there, DeviceIndex)
        memories[1].check()
        with there._there.device.keeping_failure():
            there._there.put(np.arange(1), -there.gather(np.arange(1)))
        with pytest.raises(CorruptCopy):
            memories[1].check()


def test_the_device_is_named_as_what_cannot_be_searched() -> None:
    indexes = DeviceIndexes(1, on_device())

    name = indexes.device.name
    assert indexes.unsearchable[-2:] == (
        f"the memory of {name}",
        f"the buffers of the driver of {name}",
    )
    assert not isinstance(indexes.new(4, background=True), DeviceIndex)


def test_few_rows_stay_in_ram_and_many_are_on_the_device_until_half_are_gone() -> None:
    index = DeviceIndexes(1, on_device(), few=100).new(4)
    assert isinstance(index, DeviceIndex)
    vectors = unit_rows(np.random.default_rng(0).standard_normal((150, 4)).astype(np.float32))

    index.append(vectors[:100])
    there = [index.is_there]
    index.append(vectors[100:])
    there.append(index.is_there)
    index.remove(np.arange(90))
    there.append(index.is_there)
    index.remove(np.arange(11))
    there.append(index.is_there)
    left = index._there.count
    index.append(vectors)
    there.append(index.is_there)
    index.close()

    assert there == [False, True, True, False, True]
    assert (left, index._there.count, index.count) == (0, 0, 0)


def test_a_device_that_failed_is_no_damage_of_a_memory(tmp_path: Path) -> None:
    indexes = DeviceIndexes(1, on_device(), few=10)
    vectors = unit_rows(np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32))
    with closing(Catalog(tmp_path, indexes)) as catalog:
        memory = catalog.create(
            "m", dimension=4, embedder=None, store_images=False, request=WITHOUT_ID
        )
        assert memory is not None
        lost = list[object]()
        memory.watch(lost.append)
        with closing(memory):
            memory.insert([Entry(str(at), "cat") for at in range(50)], vectors)
            indexes.device.failure = "it is broken"
            memory.delete(["3"])
            for ask in (memory.check, lambda: memory.nearest([Query(vectors[:1], 1)])):
                with pytest.raises(DeviceFailed, match="it is broken"):
                    ask()
            with pytest.raises(DeviceFailed):
                memory.insert(
                    [Entry(f"new {at}", "cat") for at in range(300)], np.tile(vectors, (6, 1))
                )
            assert memory.count == 49
            assert not lost
        indexes.device.failure = ""
        with closing(catalog.open("m")) as again:
            assert again.nearest([Query(vectors[3:4], 1)])[0].ids.tolist() != [["3"]]
            again.check()


VECTORS = unit_rows(np.random.default_rng(0).standard_normal((600, 8)).astype(np.float32))


def nearest(index: ScannedIndex) -> list[list[float]]:
    """Return the distances of the five nearest rows to the first three vectors."""
    nobody = np.empty(0, np.intp)
    found = index.candidates(VECTORS[:3], [5] * 3, [nobody] * 3)
    queries = [np.full(len(rows), number) for number, rows in enumerate(found)]
    return [
        np.sort(index.distances(VECTORS[:3], numbers, rows))[:5].tolist()
        for numbers, rows in zip(queries, found, strict=True)
    ]


def in_ram(vectors: NDArray[np.float32]) -> list[list[float]]:
    index = ScannedIndexes(1).new(8)
    index.append(vectors)
    return nearest(index)


@pytest.mark.parametrize("by", ["reserve", "append"])
def test_rows_without_room_on_the_device_are_searched_by_their_codes(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    crowded = list[int]()
    indexes = DeviceIndexes(1, on_device(), few=100, crowded=crowded.append)
    index, zeros = indexes.new(8), Device.zeros
    assert isinstance(index, DeviceIndex)

    def none_free(device: Device, shape: tuple[int, ...]) -> torch.Tensor:
        if shape[0] > 3:  # queries
            raise torch.OutOfMemoryError("no memory is free")
        return zeros(device, shape)

    index.append(VECTORS[:200])
    there = [index.is_there]
    with monkeypatch.context() as full:
        full.setattr(Device, "zeros", none_free)
        if by == "reserve":
            index.reserve(300)
            there.append(index.is_there)  # until nothing searches
            assert nearest(index) == in_ram(VECTORS[:200])
        index.append(VECTORS[200:300])
        there.append(index.is_there)
        assert nearest(index) == in_ram(VECTORS[:300])
        left = index._there.count
    index.append(VECTORS[300:500])
    there.append(index.is_there)
    index.append(VECTORS[500:])
    there.append(index.is_there)
    index.append(VECTORS[:1])
    there.append(index.is_there)

    assert there == [True, *([True] if by == "reserve" else []), False, False, False, True]
    assert (crowded, left) == ([300], 0)
    assert nearest(index) == in_ram(np.concatenate([VECTORS, VECTORS[:1]]))
    assert not indexes.device.failure


def test_a_search_without_room_on_the_device_is_done_by_codes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowded = list[int]()
    index = DeviceIndexes(1, on_device(), few=100, crowded=crowded.append).new(8)
    index.append(VECTORS)

    def none_free(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory is free")

    monkeypatch.setattr(torch, "mm", none_free)

    assert nearest(index) == in_ram(VECTORS)
    assert crowded == [len(VECTORS)]


def test_a_lack_of_ram_is_no_failure_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    indexes = DeviceIndexes(1, on_device(), few=100)
    index = indexes.new(8)
    assert isinstance(index, DeviceIndex)
    index.append(VECTORS)
    gather, lacking = index.gather, [True]

    def refused(rows: Rows) -> NDArray[np.float32]:
        if lacking.pop():
            raise MemoryError
        return gather(rows)

    with monkeypatch.context() as short:
        short.setattr(index, "gather", refused)
        index.remove(np.arange(5))

    assert not lacking
    assert not index.is_there
    assert index._there.count == 0
    assert not indexes.device.failure
    assert nearest(index) == in_ram(np.concatenate([VECTORS[-5:], VECTORS[5:-5]]))


def test_after_a_change_that_failed_no_search_answers_by_codes() -> None:
    indexes = DeviceIndexes(1, on_device(), few=100)
    index = indexes.new(8)
    assert isinstance(index, DeviceIndex)
    index.append(VECTORS)
    index._there._blocks[0] = torch.zeros((1, 1))  # so that a copy fails

    index.remove(np.arange(5))
    index.append(VECTORS[:5])

    assert indexes.device.failure
    for _ in range(2):
        with pytest.raises(DeviceFailed):
            nearest(index)
        index.remove(np.arange(2))


def test_nothing_waits_for_a_device_in_a_search_that_is_done_at_once() -> None:
    index = DeviceIndexes(1, on_device(), few=100).new(8)
    index._prepared.result()

    at_once = [index.answers_at_once]
    index.append(VECTORS)
    at_once.append(index.answers_at_once)

    assert at_once == [True, False]
