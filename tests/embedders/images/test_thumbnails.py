"""Small pictures have the shape and colours of the large, and the first bad one is named."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from visual_memory_embedders import BadImage, ImageLimits, smaller, thumbnails
from visual_memory_embedders.errors import UndecodableImage
from visual_memory_embedders.images.thumbnails import SENT_BYTES

LIMITS = ImageLimits()


def picture(size: tuple[int, int], format: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(file, format, **options)
    return file.getvalue()


def noise(side: int, format: str = "PNG") -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "small"), [((600, 300), (128, 64)), ((30, 900), (4, 128)), ((20, 10), (20, 10))]
)
def test_a_thumbnail_keeps_the_shape_and_the_colour(
    size: tuple[int, int], small: tuple[int, int], workers: ThreadPoolExecutor
) -> None:
    (data,) = thumbnails([picture(size)], workers=workers, limits=LIMITS)

    with Image.open(BytesIO(data)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", small)
        middle = np.array(thumbnail.getpixel((small[0] // 2, small[1] // 2)))
    np.testing.assert_allclose(middle, (200, 100, 50), atol=4)


def test_a_thumbnail_is_upright(workers: ThreadPoolExecutor) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera lay on its side

    (data,) = thumbnails([picture((64, 32), "JPEG", exif=exif)], workers=workers, limits=LIMITS)

    with Image.open(BytesIO(data)) as thumbnail:
        assert thumbnail.size == (32, 64)
        assert not thumbnail.getexif()


def test_the_first_picture_that_cannot_be_used_is_named(workers: ThreadPoolExecutor) -> None:
    with pytest.raises(UndecodableImage, match=r"images\[1\]") as refusal:
        thumbnails([picture((9, 9)), b"no", b"no"], workers=workers, limits=LIMITS)

    assert refusal.value.problem.startswith("is not a whole")


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_only_large_pictures_are_made_smaller(format: str) -> None:
    little, large = picture((900, 900), format), noise(2000, format)
    assert len(little) <= SENT_BYTES < len(large)

    assert smaller(little, limits=LIMITS) == little
    with Image.open(BytesIO(smaller(large, limits=LIMITS))) as shrunk:
        assert shrunk.size == (768, 768)


def test_a_large_picture_beyond_the_limits_is_refused() -> None:
    with pytest.raises(BadImage, match="900 × 900 pixels"):
        smaller(noise(900), limits=ImageLimits(pixels_max=1000))
