"""Every kind of image becomes the bytes of a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visual_memory import InvalidArgument
from visual_memory._messages.images import (
    accept,
    dimensions,
    load,
    measure,
    refuse_one_image,
    to_png,
)

TINY = np.arange(30, dtype=np.uint8).reshape(2, 5, 3)


CLOSED = io.BytesIO(b"a")
CLOSED.close()


class Tensor:
    """An array of another library, which has it in one of two ways."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape = array, np.shape(array)


class ByArray(Tensor):
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


class ByDLPack(Tensor):
    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class OnAGpu(Tensor):
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def detach(self) -> None: ...


def sent(image: Any) -> Any:
    """Return the pixels that are sent of an image."""
    data = load(accept(image, "images[0]"), "images[0]")
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("image", "way"),
    [
        ("a.jpg", "image"),
        (Path("a.jpg"), "image"),
        (b"a", "image"),
        (Image.new("RGB", (2, 2)), "image"),
        (TINY, "array"),
        (ByArray(TINY), "array"),
        (TINY[:, :, 0], "array"),
        (np.zeros((3, 28, 28)), "array"),
        (io.BytesIO(b"a"), "file"),
    ],
)
def test_one_image_is_told_from_a_list(image: Any, way: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"give images=\[{way}\]"):
        refuse_one_image(image)
    refuse_one_image([image])


@pytest.mark.parametrize("shape", [(5, 28, 28), (5, 3, 28, 28), (1, 2, 3, 3)])
def test_an_array_of_several_pictures_is_a_list(shape: tuple[int, ...]) -> None:
    refuse_one_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        TINY,
        np.moveaxis(TINY, 2, 0),
        TINY / 255,
        (TINY / 255).astype(np.float16),
        np.moveaxis(TINY, 2, 0).astype(np.float32) / 255,
        ByArray(TINY),
        ByDLPack(np.moveaxis(TINY, 2, 0).copy()),
        np.asfortranarray(TINY),
    ],
)
def test_pixels_are_the_same_whatever_holds_them(image: Any) -> None:
    assert np.array_equal(sent(image), TINY)


@pytest.mark.parametrize("image", [TINY[:, :, 0], TINY[:, :, :1], TINY[None, :, :, 0]])
def test_a_grey_picture_may_have_an_axis_for_its_channel(image: Any) -> None:
    assert np.array_equal(sent(image), TINY[:, :, 0])


@pytest.mark.parametrize("first", [False, True])
def test_a_fourth_channel_is_how_opaque_a_pixel_is(first: bool) -> None:
    pixels = np.arange(40, dtype=np.uint8).reshape(2, 5, 4)

    assert np.array_equal(sent(np.moveaxis(pixels, 2, 0) if first else pixels), pixels)


def test_an_open_file_and_a_url_of_a_file_are_that_file(tmp_path: Path) -> None:
    file = tmp_path / "a picture, 1 % ü.jpg"
    file.write_bytes(b"abc")

    with file.open("rb") as opened:
        assert load(accept(opened, "images[0]"), "images[0]") == b"abc"
    assert load(accept(file.as_uri(), "images[0]"), "images[0]") == b"abc"


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a.jpg", "s3://bucket/a.jpg", "data:image/png;base64,", "file://far/a"],
)
def test_what_is_elsewhere_is_refused_with_how_to_fetch_it(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"images\[0\] is a URL.*urlopen"):
        accept(url, "images[0]")


def test_a_colon_in_a_name_makes_no_url_of_it(tmp_path: Path) -> None:
    file = tmp_path / "a:b.jpg"
    file.write_bytes(b"abc")

    assert measure(accept(str(file), "images[0]"), "images[0]") == 3


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
        (io.BytesIO(), r"nothing left to read.*file\.seek\(0\)"),
        (CLOSED, r"cannot be read \(I/O operation on closed file"),
        (io.StringIO("a"), "mode 'rb'"),
        (np.zeros((2, 3, 5), np.uint8), r"\(3, h, w\), but is uint8 \(2, 3, 5\)"),
        (np.zeros((0, 3, 3), np.uint8), r"but is uint8 \(0, 3, 3\)"),
        (np.zeros((1, 3, 2, 2), np.uint8), r"give images=list\(array\)"),
        (np.zeros(7, np.uint8), r"but is uint8 \(7,\)"),
        (TINY.astype(float), r"float64 from 0.0 to 29.0: give array.astype\('uint8'\)"),
        (TINY.astype(int), r"int64 from 0 to 29: give array.astype\('uint8'\)"),
        (TINY > 2, r"give array.astype\('uint8'\) \* 255"),
        (TINY / 9 - 1, "undo its normalization"),
        (np.full((2, 2), np.nan), "from nan to nan"),
        (TINY.astype(np.int16) - 1, "from -1 to 28"),
        (np.array([["a"]]), "must be uint8"),
        (OnAGpu(TINY), r"cuda:0.*give tensor.detach\(\).cpu\(\)"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^images\[0\] .*{sentence}"):
        accept(image, "images[0]")


def test_a_file_is_measured_and_loaded_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"abc")

    assert measure(file, "images[0]") == 3
    assert load(file, "images[0]") == b"abc"


@pytest.mark.parametrize(
    ("image", "size"), [(TINY, (5, 2)), (Image.new("RGB", (4, 5)), (4, 5)), (b"a", (0, 0))]
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
