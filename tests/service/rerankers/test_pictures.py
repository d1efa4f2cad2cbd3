"""Every picture is shown upright, and no larger than needed."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from tests.conftest import to_picture

from visual_memory_service.errors import BadField
from visual_memory_service.rerankers.pictures import encoded, look


@pytest.mark.parametrize(
    ("size", "seen"),
    [((40, 30), (40, 30)), ((2048, 1024), (1024, 512)), ((500, 1200), (427, 1024))],
)
def test_a_picture_has_at_most_1024_pixels_a_side(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    assert look(to_picture(size=size), "picture").size == seen


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_picture_of_any_format_becomes_a_jpeg_upright_and_without_metadata(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated: dict[str, Any] = {} if format in ("BMP", "GIF") else {"exif": exif}

    data = encoded(look(to_picture(format=format, **rotated), "picture"), "JPEG")

    image = Image.open(BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (30, 40) if rotated else (40, 30))
    assert not image.getexif()


@pytest.mark.parametrize("data", [b"", b"no picture", to_picture()[:100]])
def test_what_is_no_picture_is_refused_by_its_path(data: bytes) -> None:
    with pytest.raises(BadField, match=r"^candidates\[3\]\.picture is .+\.$") as caught:
        look(data, "candidates[3].picture")

    assert caught.value.path == "candidates[3].picture"
