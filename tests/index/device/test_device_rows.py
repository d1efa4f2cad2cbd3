"""Rows on a device are those that were put, nothing is left of others, and failures are told.

The device is the processor itself: ``make test-gpu`` runs the same on a GPU.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.devices import on_device

from visual_memory_index import unit_rows
from visual_memory_index.device.device_rows import DeviceRows, error_of
from visual_memory_index.errors import DeviceFailed
from visual_memory_index.rows.rows import moves

DEVICE = torch.device(on_device())


def filled(vectors: np.ndarray, block_rows: int | None = None) -> DeviceRows:
    rows = DeviceRows(vectors.shape[1], DEVICE, block_rows)
    rows.reserve(len(vectors))
    rows.put(np.arange(len(vectors)), vectors)
    return rows


def unit(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    numbers = np.random.default_rng(seed).standard_normal((count, dimension))
    return unit_rows(numbers.astype(np.float32))


@settings(max_examples=60)
@given(st.integers(1, 200), st.sampled_from([1, 3, 8, None]), st.data())
def test_rows_that_go_leave_nothing_and_the_others_stay(
    count: int, block_rows: int | None, data: st.DataObject
) -> None:
    vectors = unit(count, 5)
    rows = filled(vectors, block_rows)
    gone = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1)))), dtype=np.intp)
    moved, places = moves(count, gone)

    rows.put(places, vectors[moved])
    rows.truncate(count - len(gone))

    vectors[places] = vectors[moved]
    left = vectors[: count - len(gone)]
    assert rows.count == len(left)
    assert rows.gather(np.arange(len(left))).tobytes() == left.tobytes()
    there = torch.cat(rows._blocks).cpu().numpy()
    assert not there[len(left) :].any()


def test_room_grows_with_the_rows() -> None:
    rows = DeviceRows(64, DEVICE)
    rows.reserve(1)
    assert sum(map(len, rows._blocks)) == 256
    rows.reserve(10_000)
    assert 10_000 <= sum(map(len, rows._blocks)) < 20_000


def test_a_change_that_failed_is_told_by_every_search_from_then_on() -> None:
    vectors = unit(40, 4)
    rows = filled(vectors)

    rows.put(np.arange(3), unit(3, 5))  # of another dimension
    rows.put(np.arange(3), vectors[:3])

    for _ in range(2):
        with pytest.raises(
            DeviceFailed, match=r"failed \(.*\): nothing is lost; restart the server"
        ):
            rows.candidates(vectors[:2], [1, 1], None)


def test_a_search_that_fails_is_told() -> None:
    rows = filled(unit(40, 4))

    with pytest.raises(DeviceFailed):
        rows.candidates(unit(1, 5), [1], None)

    assert len(rows.candidates(unit(1, 4), [1], None)) == 1


def cut_short(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Multiply as TF32 does: with 10 bits of each mantissa."""
    short = [
        (each.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)
        for each in (left, right)
    ]
    return short[0] @ short[1]


def test_the_products_of_a_device_are_within_their_bound_or_it_is_found_out() -> None:
    assert error_of(torch.mm, DEVICE) < 1
    assert error_of(cut_short, DEVICE) > 5
