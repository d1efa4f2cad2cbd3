"""Images as callers give them: paths, bytes, open files, PIL images, arrays and tensors."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from visual_memory._messages.arrays import (
    AnyArray,
    is_array,
    looks_like_one_picture,
    to_numpy,
    to_uint8,
    upright,
)
from visual_memory.errors import refuse
from visual_memory.files import file_size, read_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image as pil


class Readable(Protocol):
    """A file that was opened to read bytes."""

    def read(self) -> bytes: ...


Image: TypeAlias = "str | os.PathLike[str] | bytes | Readable | pil.Image | AnyArray"
Images: TypeAlias = "Iterable[Image]"
SomeImages: TypeAlias = "Iterable[Image | None]"
Accepted: TypeAlias = "str | os.PathLike[str] | bytes | pil.Image | NDArray[Any]"

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA", "F")  # F is refused by name
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|data:")
FILE_URL = "file://"


def refuse_one_image(images: object) -> None:
    """Raise InvalidArgument for one image, or an array that may be one, in place of a list."""
    if isinstance(images, str | bytes | bytearray | os.PathLike) or is_pil(images):
        refuse("images", "must be a list, but is a single image: give images=[image]")
    if is_array(images):
        shape = tuple(getattr(images, "shape", ()))
        if looks_like_one_picture(shape):
            refuse(
                "images",
                f"must be a list, but is an array {shape}: give images=[array] if it is one "
                "picture, images=list(array) if it is several, vectors=array if it is neither",
            )
    elif is_readable(images):
        refuse("images", "must be a list, but is an open file: give images=[file]")


def is_pil(image: object) -> TypeGuard[pil.Image]:
    """Return True for a PIL image, without importing PIL."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def is_readable(image: object) -> TypeGuard[Readable]:
    """Return True for an open file."""
    return callable(getattr(image, "read", None))


def accept(image: Image, path: str) -> Accepted:
    """Return an image as bytes, the path of a file, a PIL image, or a view of its pixels.

    An open file is read to its end, and a ``file:`` URL is a path. The pixels are those of
    ``arrays.upright``. Raises InvalidArgument, naming the field ``path``, for empty bytes, any
    other URL, an array that is no picture, and anything that is not an image.
    """
    if isinstance(image, str) and URL.match(image):
        return path_of(image, path)
    if isinstance(image, str | os.PathLike) or is_pil(image):
        return image
    if is_readable(image):
        image = read(image, path)
    if isinstance(image, bytes | bytearray | memoryview):
        if not len(image):
            refuse(path, "is empty: send the bytes of an image file")
        return bytes(image)
    if is_array(image):
        return upright(to_numpy(image, path), path)
    kind = type(image).__name__
    refuse(path, f"must be a path, bytes, an open file, a PIL image or an array, but is a {kind}")


def read(file: Readable, path: str) -> bytes:
    """Return the rest of an open file.

    Raises InvalidArgument, naming the field ``path``, if nothing is left, or it reads no bytes.
    """
    try:
        data = file.read()
    except (OSError, ValueError) as problem:  # ValueError of a closed one
        refuse(path, f"cannot be read ({problem})")
    if not isinstance(data, bytes):
        refuse(path, "is an open file that does not read bytes: open it with mode 'rb'")
    if not data:
        refuse(path, "is an open file with nothing left to read: if it was read, file.seek(0)")
    return data


def path_of(url: str, path: str) -> str:
    """Return the path that a ``file:`` URL stands for.

    Raises InvalidArgument, naming the field ``path``, for a URL of another scheme or host.
    """
    parts = urlsplit(url)
    if not url.startswith(FILE_URL) or parts.netloc not in ("", "localhost"):
        refuse(
            path,
            f"is a URL, {url!r:.80}: give its bytes, such as urllib.request.urlopen(url).read()",
        )
    return url2pathname(parts.path)


def measure(image: Accepted, path: str) -> int:
    """Return the size in bytes of an image that was accepted; 0 for a PIL image or pixels.

    Raises InvalidArgument, naming the field ``path``, for a missing file.
    """
    if isinstance(image, bytes):
        return len(image)
    return file_size(image, path) if isinstance(image, str | os.PathLike) else 0


def dimensions(image: Accepted) -> tuple[int, int]:
    """Return width and height in pixels of a PIL image or pixels, (0, 0) for bytes or a path."""
    if isinstance(image, bytes | str | os.PathLike):
        return 0, 0
    if is_pil(image):
        return image.size
    height, width = cast("NDArray[Any]", image).shape[:2]
    return width, height


def load(image: Accepted, path: str) -> bytes:
    """Return the bytes of an encoded image: as given, read from its path, or encoded as PNG.

    Raises InvalidArgument, naming the field ``path``, if a file cannot be read or an image encoded.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return read_file(image, path)
    return to_png(image, path)


def to_png(image: pil.Image | NDArray[Any], path: str) -> bytes:
    """Encode a PIL image or pixels as PNG, with EXIF orientation applied.

    Raises InvalidArgument, naming the field ``path``, if the image cannot be encoded.
    """
    import numpy as np
    from PIL import Image, ImageOps

    data = io.BytesIO()
    try:
        picture = Image.fromarray(to_uint8(image)) if isinstance(image, np.ndarray) else image
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16") and picture.mode not in PNG_MODES:
            picture = Image.fromarray(np.asarray(picture).astype(np.uint16))
        if picture.mode not in PNG_MODES:
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture.save(data, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as problem:
        refuse(path, f"cannot be written as PNG ({problem})")
    return data.getvalue()
