"""Every kind of image becomes the bytes of a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visual_memory import InvalidArgument
from visual_memory._messages.images import dimensions, is_one_image, load, measure, to_png

TINY = np.zeros((2, 3, 3), np.uint8)


@pytest.mark.parametrize("image", ["a.jpg", Path("a.jpg"), b"a", TINY, Image.new("RGB", (2, 2))])
def test_one_image_is_told_from_a_list(image: Any) -> None:
    assert is_one_image(image)
    assert not is_one_image([image])


def test_what_is_transparent_of_16_bits_stays_so() -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 300]], np.uint16)).save(file, "PNG", transparency=0)

    sent = Image.open(io.BytesIO(to_png(Image.open(file), "images[0]")))

    assert sent.info["transparency"] == 0


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_greys_of_16_bits_keep_their_value_whatever_the_order_of_bytes(mode: str) -> None:
    order = ">u2" if mode == "I;16B" else "<u2"
    image = Image.frombytes(mode, (3, 1), np.array([0, 300, 65_535], order).tobytes())

    sent = Image.open(io.BytesIO(to_png(image, "images[0]")))

    assert np.asarray(sent).tolist() == [[0, 300, 65_535]]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "is empty"),
        (7, "but is a int"),
        (np.zeros((2, 3, 4), np.uint8), r"uint8 \(h, w, 3\), but is uint8 \(2, 3, 4\)"),
        (np.zeros((2, 3, 3)), "but is float64"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        measure(image, "images[0]")


def test_a_file_is_measured_and_loaded_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"abc")

    assert measure(file, "images[0]") == 3
    assert load(file, "images[0]") == b"abc"


@pytest.mark.parametrize(
    ("image", "size"), [(TINY, (3, 2)), (Image.new("RGB", (4, 5)), (4, 5)), (b"a", (0, 0))]
)
def test_only_pixels_have_dimensions(image: Any, size: tuple[int, int]) -> None:
    assert dimensions(image) == size


def test_an_array_becomes_a_png_with_the_same_pixels() -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)

    data = to_png(pixels, "images[0]")

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_a_pil_image_becomes_upright() -> None:
    image = Image.new("CMYK", (3, 2))
    image.getexif()[0x0112] = 6  # to be turned by 90 degrees

    data = to_png(image, "images[0]")

    assert Image.open(io.BytesIO(data)).size == (2, 3)


def test_a_pil_image_of_floats_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"images\[0\] cannot be written as PNG"):
        to_png(Image.new("F", (2, 2)), "images[0]")
