"""Pictures of a query and its candidates, decoded and scaled for re-rankers."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

from PIL import Image

from visual_memory_embedders import ImageLimits
from visual_memory_embedders.images.images import BadImage, decode
from visual_memory_service.errors import BadField

SIDE = 1024
QUALITY = 90  # of a JPEG
LIMITS = ImageLimits()


def look(data: bytes, path: str) -> Image.Image:
    """Decode a picture, upright and at most 1024 pixels a side.

    Raises BadField, with ``path`` as the field, if it cannot be decoded.
    """
    try:
        image = decode(data, limits=LIMITS)
    except BadImage as bad:
        raise BadField(path, str(bad)) from None
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def encoded(image: Image.Image, format: Literal["BMP", "JPEG"]) -> bytes:
    """Encode an image as the bytes of a file."""
    file = BytesIO()
    image.save(file, format, quality=QUALITY)
    return file.getvalue()
