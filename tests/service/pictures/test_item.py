"""Items are recognised as stored by the bits and hashes that the server has of them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from visual_memory.types import Entry
from visual_memory_index.rows.distances import unit_rows
from visual_memory_service.pictures.item import Item, sha256, unit


@pytest.mark.parametrize("dimension", [1, 2, 3, 7, 64, 1280])
def test_a_row_has_the_bits_that_the_server_stores(dimension: int) -> None:
    rows = np.random.default_rng(dimension).normal(size=(200, dimension)).astype(np.float32)
    rows[1] = unit_rows(rows[:1])[0]
    rows[2] = rows[1] * np.float32(1 + 5e-7)

    assert [unit(row).tobytes() for row in rows] == [row.tobytes() for row in unit_rows(rows)]


def test_an_item_is_known_by_what_the_server_hashes_of_it() -> None:
    row, picture = np.ones(3, np.float32), "ab" * 32

    bare = Item("a", "cat", row)
    of_picture = Item("a", "cat", row, image_sha256=picture)
    beside = Item("a", "cat", row, image=b"some", image_sha256=picture)

    def entry(label: str, content_sha256: str) -> Entry:
        return Entry("a", label, {}, datetime.now(UTC), content_sha256)

    assert bare.is_stored(entry("cat", sha256(row)))
    assert of_picture.is_stored(entry("cat", picture))
    assert beside.is_stored(entry("cat", sha256(b"some")))
    assert not of_picture.is_stored(entry("dog", picture))
