"""Items: entries to insert, with the hashes by which to find out if they are stored already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory.types import Entry
from visual_memory_service.pictures import pictures

Content = bytes | NDArray[np.float32]
UNIT_TOLERANCE = 1e-6  # the server stores a row as it is if its norm is so near to 1


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An entry to insert; ``content`` is a picture's path or bytes, or a vector float32 (d,).

    ``metadata`` is None if not given. ``image`` is a picture to store beside a vector,
    ``image_sha256`` the lower-case hex hash of a picture that is not stored. A ``pruned`` entry
    does not vote.
    """

    id: str
    label: str
    content: Path | Content
    metadata: Mapping[str, str] | None = None
    image: bytes | None = None
    image_sha256: str = ""
    pruned: bool = False

    @property
    def size(self) -> int:
        """Return the size of content and image in bytes, without reading a file.

        A file that cannot be read, such as one that was deleted since, has the size 0.
        """
        if isinstance(self.content, Path):
            with suppress(pictures.Unreadable):
                return pictures.size(self.content)
            return 0
        content = len(self.content) if isinstance(self.content, bytes) else self.content.nbytes
        return content + len(self.image or b"")

    @property
    def picture(self) -> Path | bytes | None:
        """Return the picture: the content, or the image beside a vector; None if there is none."""
        return self.content if isinstance(self.content, Path | bytes) else self.image

    @property
    def held_bytes(self) -> int:
        """Return the number of bytes that the item holds in RAM; 0 for a picture in a file."""
        return 0 if isinstance(self.content, Path) else self.size

    def read(self) -> Content:
        """Return the bytes of the picture, or the float32 vector (d,). Raises Unreadable."""
        return pictures.read(self.content) if isinstance(self.content, Path) else self.content

    def sha256(self) -> str:
        """Return the content hash that the server stores. Raises Unreadable."""
        if self.image is not None:
            return sha256(self.image)
        return self.image_sha256 or sha256(self.read())

    @property
    def has_picture(self) -> bool:
        """Return True for a vector whose content hash is that of a picture."""
        return self.image is not None or bool(self.image_sha256)

    def is_alike(self, entry: Entry) -> bool:
        """Return True if the item has the entry's label and its metadata, or no metadata."""
        return self.label == entry.label and self.metadata in (None, entry.metadata)

    def is_stored(self, entry: Entry) -> bool:
        """Return True if the item ``is_alike`` and has the same content. Raises Unreadable."""
        return self.is_alike(entry) and self.sha256() == entry.content_sha256

    def row_sha256(self) -> str:
        """Return the hash of the vector as the server stores it, or "" for a picture."""
        content = self.read()
        return "" if isinstance(content, bytes) else sha256(unit(content))


def sha256(content: Content) -> str:
    """Return the content hash of a picture or vector, in hex."""
    data: Any = content if isinstance(content, bytes) else content.astype("<f4").tobytes()
    return hashlib.sha256(data).hexdigest()


def unit(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalize a float32 vector (d,) to exactly the bits that the server stores."""
    wide = row.astype(np.float64)
    terms = np.square(wide)
    while len(terms) > 1:  # in the order of the server, or the last bit may be another
        half = (len(terms) + 1) // 2
        terms[: len(terms) - half] += terms[half:]
        terms = terms[:half]
    norm = np.sqrt(terms[0])
    if abs(norm - 1.0) <= UNIT_TOLERANCE or not 0 < norm < np.inf:
        return row
    scaled: NDArray[np.float32] = (wide / norm).astype(np.float32)
    return scaled
