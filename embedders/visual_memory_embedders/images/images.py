"""Decoding of encoded bytes to an upright RGB image, within limits."""

import threading
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, features

READS_AVIF = "avif" in features.modules and features.check_module("avif")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", *(["AVIF"] if READS_AVIF else []))
KINDS = f"JPEG, PNG, WebP, BMP, GIF{', TIFF or AVIF' if READS_AVIF else ' or TIFF'}"
PIXELS_MAX = 89_478_485  # the size from which Pillow warns
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(Exception):
    """Bytes that do not decode; the message is a phrase that needs the image's name before it."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits on the bytes and pixels of one image.

    Raises ValueError if a limit is below 1, or ``pixels_max`` is above Pillow's own limit.
    """

    bytes_max: int = 32 * 2**20
    pixels_max: int = 64_000_000

    def __post_init__(self) -> None:
        if self.bytes_max < 1 or not 1 <= self.pixels_max <= PIXELS_MAX:
            raise ValueError(f"bytes_max must be positive, pixels_max from 1 to {PIXELS_MAX:,}")


def decode(data: bytes, *, limits: ImageLimits, side: int | None = None) -> Image.Image:
    """Decode the first frame to upright 8-bit RGB; the size is checked before any pixel is decoded.

    Transparency becomes white. 16-bit grey is scaled to 8 bits. Colour profiles are ignored. If
    ``side`` is given, a JPEG may be decoded at a smaller size, which is cheaper, but with at least
    ``side`` pixels on its longer side. Raises BadImage.
    """
    if not data:
        raise BadImage("is empty: send the bytes of an image file")
    if len(data) > limits.bytes_max:
        raise BadImage(f"has {len(data):,} bytes: send at most {limits.bytes_max:,}")
    try:
        return _decode(data, limits, side)
    except (BadImage, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImage(f"is not a whole {KINDS} image") from None
    except Image.DecompressionBombError:
        raise BadImage(f"is too large: send at most {limits.pixels_max:,} pixels") from None
    except Exception as problem:  # on bad bytes Pillow raises whatever its parser ran into
        raise BadImage(f"is damaged and cannot be decoded ({problem})") from None


def _decode(data: bytes, limits: ImageLimits, side: int | None) -> Image.Image:
    with PILLOWS_WARNINGS_OFF:
        image: Image.Image = Image.open(BytesIO(data), formats=FORMATS)
        width, height = image.size
        if not 0 < width * height <= limits.pixels_max:
            raise BadImage(f"has {width:,} × {height:,} pixels: send 1 to {limits.pixels_max:,}")
        if side is not None and (shrinking := max(width, height) / side) > 1:
            image.draft(None, (int(width / shrinking), int(height / shrinking)))
        image.load()
        turn = UPRIGHT.get(_orientation(image))
        rgb = _rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def pixels(data: bytes) -> int:
    """Return the number of pixels that an image's header names, 0 if it cannot be read."""
    try:
        with PILLOWS_WARNINGS_OFF, Image.open(BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        return 2 * PIXELS_MAX
    except Exception:  # as in ``decode``, which refuses it
        return 0
    return width * height


def _orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as above; a picture is still a picture when its metadata are damaged
        return 1
    return orientation


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        if getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0:
            grey = 65_535 - grey  # white is zero, which Pillow handles for 8 bits only
        if (transparent := image.info.get("transparency")) is not None:
            grey = np.where(grey == transparent, 65_535, grey)
        grey = (grey + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImage("has pixels of 32 bits, whose white is unknown: send 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


class _PillowsWarningsOff:
    """Context manager that silences Pillow's warnings about odd files.

    All threads share Python's warning filters: the first to enter sets them, the last to leave
    resets them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._filters = ExitStack()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.close()


PILLOWS_WARNINGS_OFF = _PillowsWarningsOff()
