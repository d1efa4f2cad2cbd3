"""An entry is read as it was written, or damage is reported."""

from __future__ import annotations

from zlib import crc32

import pytest

from visual_memory_index.files.damage import NotAsWritten
from visual_memory_index.sqlite.entries import check_part


@pytest.mark.parametrize(("written", "data"), [(None, None), (crc32(b"a picture"), b"a picture")])
def test_a_part_that_is_as_it_was_written_is_no_damage(
    written: int | None, data: bytes | None
) -> None:
    check_part("image", 7, written, data)


@pytest.mark.parametrize("written", [None, crc32(b"a picture")])
@pytest.mark.parametrize("data", [b"", b"another", "a picture", 7, 0.5])
def test_a_part_of_other_bytes_or_of_another_type_is_damage(
    written: int | None, data: object
) -> None:
    with pytest.raises(NotAsWritten, match="the image of the entry of key 7 is not as it was"):
        check_part("image", 7, written, data)
