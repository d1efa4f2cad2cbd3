"""Vectors by key come from the file, or from the write that takes them out of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index.errors import CorruptCopy
from visual_memory_index.ram.originals import Originals

Keys = NDArray[np.int64]
FILE = {key: np.full(3, key, np.float32) for key in (2, 3, 5, 8)}


def read(keys: Keys) -> tuple[Keys, NDArray[np.float32]]:
    assert (np.diff(keys) > 0).all()
    found = [key for key in keys.tolist() if key in FILE]
    return np.array(found, np.int64), np.array([FILE[key] for key in found]).reshape(-1, 3)


def keys(*given: int) -> Keys:
    return np.array(given, np.int64)


def test_vectors_come_in_the_order_of_their_keys_from_wherever_they_are() -> None:
    vectors = Originals("pets", read)
    vectors.hold(
        [(keys(4, 9), np.full((2, 3), 4, np.float32)), (keys(1), np.ones((1, 3), np.float32))]
    )

    asked = keys(8, 4, 2, 8, 1, 9)

    assert vectors(asked)[:, 0].tolist() == [8, 4, 2, 8, 1, 4]
    assert vectors(keys()).shape == (0, 3)


def test_what_a_write_takes_out_while_the_file_is_read_is_found_among_what_it_holds() -> None:
    def read_later(asked: Keys) -> tuple[Keys, NDArray[np.float32]]:
        vectors.hold(
            [(keys(4), np.full((1, 3), 4, np.float32))]
        )  # which the file lacks from now on
        return read(asked)

    vectors = Originals("pets", read_later)

    assert vectors(keys(2, 4))[:, 0].tolist() == [2, 4]


def test_what_is_held_no_more_is_missing() -> None:
    vectors = Originals("pets", read)
    vectors.hold([(keys(4), np.ones((1, 3), np.float32))])
    vectors.hold([])

    with pytest.raises(CorruptCopy, match="pets"):
        vectors(keys(2, 4))
