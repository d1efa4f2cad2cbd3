"""Images as callers give them: a path, bytes, a PIL image or an array."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from visual_memory.errors import refuse
from visual_memory.files import file_size, read_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image as pil

Image: TypeAlias = "str | os.PathLike[str] | bytes | pil.Image | NDArray[np.uint8]"
Images: TypeAlias = "Iterable[Image]"
SomeImages: TypeAlias = "Iterable[Image | None]"

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA", "F")  # F is refused by name


def is_one_image(images: object) -> bool:
    """Return True for one image: a path, bytes, a PIL image or a uint8 array of 2 or 3 axes."""
    if is_array(images):
        return images.dtype == "uint8" and images.ndim in (2, 3)
    return isinstance(images, str | bytes | bytearray | os.PathLike) or is_pil(images)


def is_array(image: object) -> TypeGuard[NDArray[Any]]:
    """Return True for an array, without importing NumPy."""
    return isinstance(image, getattr(sys.modules.get("numpy"), "ndarray", ()))


def is_pil(image: object) -> bool:
    """Return True for a PIL image, without importing PIL."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def measure(image: Image, path: str) -> int:
    """Return the size in bytes of an image given as bytes or a path, 0 for a PIL image or an array.

    Raises InvalidArgument, naming the field ``path``, for a missing file, empty bytes, an array
    that is not uint8 (h, w, 3), and anything that is not an image.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        if not len(image):
            refuse(path, "is empty: send the bytes of an image file")
        return len(image)
    if isinstance(image, str | os.PathLike):
        return file_size(image, path)
    if is_array(image) and (
        image.dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3 or not image.size
    ):
        refuse(path, f"must be uint8 (h, w, 3), but is {image.dtype} {image.shape}")
    if not (is_array(image) or is_pil(image)):
        kind = type(image).__name__
        refuse(path, f"must be a path, bytes, a PIL image or a uint8 array, but is a {kind}")
    return 0


def dimensions(image: Image) -> tuple[int, int]:
    """Return width and height in pixels of a PIL image or array, (0, 0) for bytes or a path."""
    if is_array(image):
        return image.shape[1], image.shape[0]
    width, height = getattr(image, "size", (0, 0)) if is_pil(image) else (0, 0)
    return width, height


def load(image: Image, path: str) -> bytes:
    """Return the bytes of an encoded image: as given, read from its path, or encoded as PNG.

    Raises InvalidArgument, naming the field ``path``, if a file cannot be read or an image encoded.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return read_file(image, path)
    return to_png(image, path)


def to_png(image: pil.Image | NDArray[np.uint8], path: str) -> bytes:
    """Encode a PIL image or a uint8 array (h, w, 3) as PNG, with EXIF orientation applied.

    Raises InvalidArgument, naming the field ``path``, if the image cannot be encoded.
    """
    import numpy as np
    from PIL import Image, ImageOps

    data = io.BytesIO()
    try:
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16") and picture.mode not in PNG_MODES:
            picture = Image.fromarray(np.asarray(picture).astype(np.uint16))
        if picture.mode not in PNG_MODES:
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture.save(data, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as problem:
        refuse(path, f"cannot be written as PNG ({problem})")
    return data.getvalue()
