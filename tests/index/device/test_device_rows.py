"""Rows on a device are those that were put, nothing is left of others, and failures are told.

The device is the processor itself: ``make test-gpu`` runs the same on a GPU.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.devices import on_device

from visual_memory_index import unit_rows
from visual_memory_index.device.device import Device, error_of
from visual_memory_index.device.device_rows import DeviceRows
from visual_memory_index.errors import DeviceFailed, UnfitDevice
from visual_memory_index.rows.rows import moves

NAME = on_device()
DEVICE = Device(NAME)


def filled(
    vectors: NDArray[np.float32], block_rows: int | None = None, device: Device = DEVICE
) -> DeviceRows:
    rows = DeviceRows(vectors.shape[1], device, block_rows)
    rows.reserve(len(vectors))
    with rows.device.keeping_failure():
        rows.put(np.arange(len(vectors)), vectors)
    return rows


def unit(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    numbers = np.random.default_rng(seed).standard_normal((count, dimension))
    return unit_rows(numbers.astype(np.float32))


@settings(max_examples=60)
@given(st.integers(1, 200), st.sampled_from([1, 3, 8, None]), st.data())
def test_rows_that_go_leave_nothing_and_the_others_stay(
    count: int, block_rows: int | None, data: st.DataObject
) -> None:
    vectors = unit(count, 5)
    rows = filled(vectors, block_rows)
    blocks = [*rows._blocks]
    gone = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1)))), dtype=np.intp)
    moved, places = moves(count, gone)

    with rows.device.keeping_failure():
        rows.put(places, vectors[moved])
        rows.truncate(count - len(gone))

    vectors[places] = vectors[moved]
    left = vectors[: count - len(gone)]
    assert rows.count == len(left)
    assert rows.gather(np.arange(len(left))).tobytes() == left.tobytes()
    there = torch.cat(blocks).cpu().numpy()
    assert not there[len(left) :].any()


def test_room_grows_with_the_rows_and_is_given_back() -> None:
    rows = DeviceRows(64, DEVICE)
    rows.reserve(1)
    assert sum(map(len, rows._blocks)) == 256
    rows.reserve(10_000)
    assert 10_000 <= sum(map(len, rows._blocks)) < 20_000
    rows.truncate(0)
    assert not rows._blocks


def test_vectors_that_are_read_only_are_put(recwarn: pytest.WarningsRecorder) -> None:
    vectors = unit(40, 4)
    vectors.flags.writeable = False

    assert filled(vectors).gather(np.arange(40)).tobytes() == vectors.tobytes()
    assert not recwarn.list


def test_of_queries_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[torch.Tensor]()
    zeros = Device.zeros

    def kept(device: Device, shape: tuple[int, ...]) -> torch.Tensor:
        made.append(zeros(device, shape))
        return made[-1]

    rows = filled(unit(40, 4))
    monkeypatch.setattr(Device, "zeros", kept)
    rows.candidates(unit(3, 4), [1, 2, 3], None)

    assert [tuple(each.shape) for each in made] == [(3, 4)]
    assert not made[0].any()


def test_a_failed_change_is_told_by_all_that_is_asked_afterwards() -> None:
    device, vectors = Device(NAME), unit(40, 4)
    rows, others = filled(vectors, device=device), filled(vectors, device=device)

    with rows.device.keeping_failure():
        rows.put(np.arange(3), unit(3, 5))  # of another dimension
    with rows.device.keeping_failure():
        rows.put(np.arange(3), vectors[:3])

    says = r"failed \(.*\): nothing is lost; restart the server"
    for each in (rows, others):
        for _ in range(2):
            with pytest.raises(DeviceFailed, match=says):
                each.candidates(vectors[:2], [1, 1], None)
        with pytest.raises(DeviceFailed, match=says):
            each.gather(np.arange(3))
        with pytest.raises(DeviceFailed, match=says):
            each.reserve(1000)
    with pytest.raises(DeviceFailed, match=says):
        device.give_back_unused()


def test_a_search_that_fails_is_told() -> None:
    rows = filled(unit(40, 4))

    with pytest.raises(DeviceFailed):
        rows.candidates(unit(1, 5), [1], None)

    assert len(rows.candidates(unit(1, 4), [1], None)) == 1


def cut_short(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Multiply as TF32 does: with 10 bits of each mantissa."""
    both = (each.contiguous().view(torch.int32) & ~0x1FFF for each in (left, right))
    short = [each.view(torch.float32) for each in both]
    return short[0] @ short[1]


def test_the_products_of_a_device_are_within_their_bound_or_it_is_found_out() -> None:
    assert error_of(torch.mm, DEVICE.torch) < 1
    assert error_of(cut_short, DEVICE.torch) > 5


def test_a_device_that_cannot_compute_is_refused() -> None:
    with pytest.raises(
        UnfitDevice, match=r'^META cannot be used \(.+\); start with device = "cpu"'
    ):
        Device("meta")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(UnfitDevice, match=r"^GPU 0 cannot be used "):
        Device("cuda:0")
