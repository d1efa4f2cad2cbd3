"""Picture files: which of a folder are meant, and whether they decode."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from visual_memory._terminal.refused import Refused, listed
from visual_memory.types import Limits

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


@dataclass(frozen=True, slots=True)
class Picture:
    """A file in a folder per class: its id is the path inside the folder, with slashes."""

    path: Path
    id: str
    label: str


def labelled(folder: Path) -> list[Picture]:
    """All pictures of a folder per class, by id. Raises Refused."""
    pictures, loose = [], []
    for path in walk(folder):
        inside = path.relative_to(folder).as_posix()
        label, slash, _ = inside.partition("/")
        if slash:
            pictures.append(Picture(path, inside, label))
        else:
            loose.append(inside)
    if loose:
        raise Refused(
            f"These pictures lie directly in {folder}, where a folder for each label is "
            f"expected: {listed(loose)}."
        )
    if not pictures:
        raise Refused(f"There are no pictures in {folder}; {expectation()}.")
    return sorted(pictures, key=lambda picture: picture.id)


def named(paths: list[Path]) -> list[Path]:
    """The files that were named, and all pictures below the folders that were. Raises Refused."""
    found: list[Path] = []
    for path in paths:
        below = sorted(walk(path)) if path.is_dir() else [path]
        if not below:
            raise Refused(f"There are no pictures in {path}.")
        if not below[0].exists():
            raise Refused(f"There is no file or folder {path}.")
        if not below[0].is_file():
            raise Refused(f"{path} is no file that can be read again; save it as one first.")
        found.extend(below)
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Every picture below ``folder``."""
    return (checked(path) for path in files(folder) if is_picture(path))


def others(folder: Path) -> Counter[str]:
    """How many files below ``folder`` are no pictures, by the ends of their names."""
    return Counter(path.suffix for path in files(folder) if not is_picture(path))


def is_picture(path: Path) -> bool:
    """By its name."""
    return path.name.lower().endswith(SUFFIXES)


def files(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, through links too; hidden ones are left out. Raises Refused."""
    if not folder.is_dir():
        raise Refused(f"There is no folder {folder}.")
    for root, folders, names in os.walk(folder, followlinks=True):
        here = Path(root)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and not here.resolve().is_relative_to((here / name).resolve())  # a link to above
        ]
        yield from (here / name for name in names if not name.startswith("."))


def checked(path: Path) -> Path:
    """The path, if it is UTF-8, as ids must be."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = str(path).encode(errors="replace").decode()
        raise Refused(f"The name of {shown} is not UTF-8; rename the file or folder.") from None
    return path


def expectation() -> str:
    """What a folder per class looks like, for sentences."""
    return f"expected are folders, one for each label, with files ending in {', '.join(SUFFIXES)}"


def read(path: Path) -> bytes:
    """The bytes of a picture. Raises Refused."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None


def size(path: Path) -> int:
    """The bytes of a picture, unread. Raises Refused."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None


def faults(contents: Sequence[bytes], limits: Limits) -> list[str | None]:
    """Why the server would refuse each picture, as far as can be seen here, or None."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as workers:
        warnings.simplefilter("ignore")
        return list(workers.map(lambda data: fault(data, limits), contents))


def fault(data: bytes, limits: Limits) -> str | None:
    """A phrase that follows the picture's name, or None."""
    if len(data) > limits.image_bytes:
        return f"has {len(data):,} bytes, more than the server's {limits.image_bytes:,}"
    try:
        image: Image.Image = Image.open(BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > limits.image_pixels:
            return f"has {width:,} × {height:,} pixels, too many for the server"
        image.load()
    except UnidentifiedImageError:
        return "is not a whole JPEG, PNG, WebP, BMP, GIF or TIFF image"
    except Exception as error:  # on bad bytes Pillow raises whatever its parser ran into
        return f"is damaged ({error})"
    if image.mode in ("I", "F"):
        return "has pixels of 32 bits, whose white is unknown"
    return None
