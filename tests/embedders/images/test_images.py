"""Encoded images become upright RGB, or are refused before they cost anything."""

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, features

from visual_memory_embedders import ImageLimits
from visual_memory_embedders.images.images import FORMATS, KINDS, BadImage, decode

LIMITS = ImageLimits()
ORIENTATION = 0x0112
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def corner(image: Image.Image) -> tuple[int, ...]:
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def photograph(width: int = 48, height: int = 32) -> Image.Image:
    """Return a smooth image, on which lossy formats stay close."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("format", sorted({*FORMATS} - {"GIF"}))
def test_each_format_gives_its_pixels(format: str) -> None:
    image = decode(encoded(photograph(), format), limits=LIMITS)

    assert image.mode == "RGB"
    assert np.abs(np.asarray(image, int) - np.asarray(photograph(), int)).max() < 16


def test_avif_is_read_where_pillow_reads_it() -> None:
    assert ("AVIF" in FORMATS, "AVIF" in KINDS) == (features.check("avif"),) * 2


def test_of_a_gif_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, BLUE)]

    image = decode(
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), limits=LIMITS
    )

    assert corner(image) == RED


@pytest.mark.parametrize("format", ["ICO", "PPM", "TGA", "JPEG2000"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(BadImage, match=f"not a whole {KINDS}"):
        decode(encoded(photograph(), format), limits=LIMITS)


@pytest.mark.parametrize("format", sorted({*FORMATS} - {"GIF", "BMP"}))
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_stands_upright(orientation: int, format: str) -> None:
    upright = photograph()
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation

    image = decode(encoded(stored, format, exif=exif), limits=LIMITS)

    assert image.size == upright.size
    assert np.abs(np.asarray(image, int) - np.asarray(upright, int)).max() < 16


@pytest.mark.parametrize(("format", "size"), [("JPEG", (100, 200)), ("PNG", (400, 800))])
def test_a_jpeg_may_be_decoded_smaller_but_not_smaller_than_asked(
    format: str, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = photograph().resize((800, 400))

    image = decode(encoded(stored, format, exif=exif), limits=LIMITS, side=150)

    assert image.size == size


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01"])
def test_damaged_metadata_do_not_spoil_a_picture(exif: bytes) -> None:
    image = decode(encoded(photograph(), "JPEG", exif=exif), limits=LIMITS)

    assert image.size == (48, 32)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(format: str) -> None:
    grey = np.array([[0, 257 * 100, 65535, 256]], dtype=np.uint16)

    image = decode(encoded(Image.fromarray(grey), format), limits=LIMITS)

    assert np.asarray(image)[0].tolist() == [[0] * 3, [100] * 3, [255] * 3, [1] * 3]


def test_16_bit_grey_whose_white_is_zero_is_turned_round() -> None:
    grey = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    data = encoded(Image.fromarray(grey), "TIFF")
    black_is_zero = struct.pack("<HHIHH", ExifTags.Base.PhotometricInterpretation, 3, 1, 1, 0)
    assert data.count(black_is_zero) == 1

    image = decode(data.replace(black_is_zero, black_is_zero[:8] + bytes(4)), limits=LIMITS)

    assert np.asarray(image)[0].tolist() == [[255] * 3, [155] * 3, [0] * 3]


def test_16_bit_grey_that_is_transparent_shows_white() -> None:
    grey = Image.fromarray(np.array([[0, 257 * 100]], dtype=np.uint16))

    image = decode(encoded(grey, "PNG", transparency=0), limits=LIMITS)

    assert np.asarray(image)[0].tolist() == [[255] * 3, [100] * 3]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_white_are_refused(mode: str) -> None:
    with pytest.raises(BadImage, match="32 bits"):
        decode(encoded(Image.new(mode, (8, 8)), "TIFF"), limits=LIMITS)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_shows_white(mode: str) -> None:
    image = decode(encoded(Image.new(mode, (8, 8))), limits=LIMITS)

    assert corner(image) == WHITE


def test_a_transparent_entry_of_a_palette_shows_white() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([*BLUE, *RED])
    palette.putpixel((7, 7), 0)

    image = decode(encoded(palette, transparency=b"\xff\x00"), limits=LIMITS)

    assert corner(image) == WHITE
    assert image.getpixel((7, 7)) == BLUE


def test_opaque_alpha_changes_nothing() -> None:
    image = decode(encoded(photograph().convert("RGBA")), limits=LIMITS)

    assert image.tobytes() == photograph().tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_every_usual_mode_becomes_rgb(mode: str) -> None:
    red = Image.new("RGB", (16, 16), RED).convert(mode)

    image = decode(encoded(red, "TIFF"), limits=LIMITS)

    expected = np.asarray(red.convert("RGB"), int)
    assert np.abs(np.asarray(image, int) - expected).max() <= 2


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    image = decode(encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG"), limits=LIMITS)

    assert np.abs(np.subtract(corner(image), RED)).max() < 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
def test_a_truncated_file_is_refused(format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)

    with pytest.raises(BadImage, match=r"damaged|not a whole"):
        decode(data[: int(len(data) * share)], limits=LIMITS)


@pytest.mark.parametrize("data", [b"GIF89a", b"\xff\xd8\xff", b"BM", b"II*\0", b"hello" * 99])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage, match=r"damaged|not a whole"):
        decode(data, limits=LIMITS)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@given(changes=st.dictionaries(st.integers(0, 1000), st.integers(0, 255), min_size=1, max_size=9))
def test_damage_anywhere_gives_an_image_or_a_refusal(format: str, changes: dict[int, int]) -> None:
    data = bytearray(encoded(photograph(), format))
    for position, value in changes.items():
        data[position % len(data)] = value

    with suppress(BadImage):
        assert decode(bytes(data), limits=ImageLimits(pixels_max=10_000)).mode == "RGB"


def test_pillows_warnings_are_silent_in_all_threads_and_only_inside() -> None:
    filters = list(warnings.filters)
    odd = encoded(photograph(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01")

    with ThreadPoolExecutor(4) as threads:
        sizes = {image.size for image in threads.map(partial(decode, limits=LIMITS), [odd] * 99)}

    assert sizes == {(48, 32)}
    assert warnings.filters == filters


def test_nothing_is_refused() -> None:
    with pytest.raises(BadImage, match="empty"):
        decode(b"", limits=LIMITS)


def test_a_file_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(BadImage, match="101 bytes: send at most 100"):
        decode(bytes(101), limits=ImageLimits(bytes_max=100))


@pytest.mark.parametrize("side", [8_001, 9_500, 14_000, 100_000])
def test_a_small_file_of_too_many_pixels_is_refused_undecoded(side: int) -> None:
    with pytest.raises(BadImage, match="64,000,000"):
        decode(png_header(side), limits=LIMITS)


def test_as_many_pixels_as_allowed_are_decoded() -> None:
    image = decode(encoded(Image.new("1", (40, 20))), limits=ImageLimits(pixels_max=800))

    assert image.size == (40, 20)


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (1, 89_478_486)])
def test_limits_that_pillow_would_contradict_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="pixels_max from 1 to 89,478,485"):
        ImageLimits(*limits)


def png_header(side: int) -> bytes:
    """A 1-bit PNG that claims side × side pixels and holds none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
