"""A memory on a device answers as one in RAM does, and certificates name the device."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.index.devices import on_device

from visual_memory_index import Catalog, Entry, Query, ScannedIndexes, unit_rows
from visual_memory_index.device.indexes import DeviceIndex, DeviceIndexes
from visual_memory_index.errors import CorruptCopy, UnfitDevice
from visual_memory_index.records.request import WITHOUT_ID


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
        there._device_rows.put(np.arange(1), -there.gather(np.arange(1)))
        with pytest.raises(CorruptCopy):
            memories[1].check()


def test_the_device_is_named_as_what_cannot_be_searched() -> None:
    indexes = DeviceIndexes(1, on_device())

    assert indexes.unsearchable[-1] in ("the memory of CPU", "the memory of GPU 0")
    assert not isinstance(indexes.new(4, background=True), DeviceIndex)


def test_a_device_that_cannot_compute_is_refused() -> None:
    with pytest.raises(
        UnfitDevice, match=r'^META cannot be used \(.+\); start with device = "cpu"'
    ):
        DeviceIndexes(1, "meta")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(UnfitDevice, match=r"^GPU 0 cannot be used "):
        DeviceIndexes(1)
