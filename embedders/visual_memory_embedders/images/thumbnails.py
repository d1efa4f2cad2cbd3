"""Smaller JPEGs of encoded images, for pages and re-rankers."""

from collections.abc import Sequence
from concurrent.futures import Executor
from io import BytesIO

from PIL import Image

from visual_memory_embedders.images.images import ImageLimits, decode
from visual_memory_embedders.images.workers import in_order

SIDE = 128
SENT_SIDE = 768
SENT_BYTES = 1 << 18  # a picture up to this size is sent as it is
QUALITY = 80


def thumbnails(images: Sequence[bytes], *, workers: Executor, limits: ImageLimits) -> list[bytes]:
    """Make a JPEG of at most 128 pixels a side of each image, in order.

    Raises UndecodableImage for the first image that does not decode.
    """
    return list(in_order(workers, lambda _, data: shrink(data, side=SIDE, limits=limits), images))


def smaller(data: bytes, *, limits: ImageLimits) -> bytes:
    """Return an image of up to 256 KiB as it is, else a JPEG of at most 768 pixels a side.

    Raises BadImage if an image of more than 256 KiB does not decode.
    """
    return data if len(data) <= SENT_BYTES else shrink(data, side=SENT_SIDE, limits=limits)


def shrink(data: bytes, *, side: int, limits: ImageLimits) -> bytes:
    """Make an upright JPEG of at most ``side`` pixels a side. Raises BadImage."""
    image = decode(data, limits=limits, side=side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = BytesIO()
    image.save(small, "JPEG", quality=QUALITY)
    return small.getvalue()
