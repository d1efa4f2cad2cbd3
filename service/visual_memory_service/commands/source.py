"""What ``insert`` reads: a folder per class or a Parquet file, item by item, as often as asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from visual_memory._terminal.refused import Refused
from visual_memory.types import MemoryInfo
from visual_memory_service.commands import parquet, pictures

Content = bytes | NDArray[np.float32]
UNIT_TOLERANCE = 1e-6  # the server keeps the bits of a row whose norm is so near to 1


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An entry to be: ``content`` is a path until it is read; ``metadata`` None says nothing.

    ``image`` is to be kept beside a row. A ``pruned`` entry does not vote.
    """

    id: str
    label: str
    content: Path | Content
    metadata: Mapping[str, str] | None = None
    image: bytes | None = None
    pruned: bool = False

    @property
    def size(self) -> int:
        """Bytes of the content, as far as that is known before reading."""
        if isinstance(self.content, Path):
            return pictures.size(self.content)
        content = len(self.content) if isinstance(self.content, bytes) else self.content.nbytes
        return content + len(self.image or b"")

    @property
    def picture(self) -> bytes | None:
        """What has to decode: the content itself, or what is kept beside it."""
        content = self.read()
        return content if isinstance(content, bytes) else self.image

    def read(self) -> Content:
        """The picture's bytes or the float32 row. Raises Refused."""
        return pictures.read(self.content) if isinstance(self.content, Path) else self.content

    def sha256(self) -> str:
        """The hash by which the server knows what it was sent."""
        return sha256(self.read() if self.image is None else self.image)

    def row_sha256(self) -> str:
        """The hash of the row as the server stores it, empty for a picture."""
        content = self.read()
        return "" if isinstance(content, bytes) else sha256(unit(content))


class Source(Protocol):
    """Items in an order that stays."""

    noun: str
    count: int
    others: Mapping[str, int]
    """How many files are left out unseen, by the ends of their names."""

    def items(self) -> Iterator[Item]: ...


class Folder:
    """A folder per class."""

    noun = "picture"

    def __init__(self, path: Path) -> None:
        self._pictures = pictures.labelled(path)
        self.others: Mapping[str, int] = pictures.others(path)
        self.count = len(self._pictures)

    def items(self) -> Iterator[Item]:
        for picture in self._pictures:
            yield Item(picture.id, picture.label, picture.path)


class Table:
    """A Parquet file with vectors or images."""

    def __init__(self, path: Path, memory: MemoryInfo) -> None:
        embedder = memory.embedder
        self._file = parquet.File(path, kept=memory.store_images)
        if embedder and self._file.embedder and self._file.embedder != parquet.spec(embedder):
            raise Refused(
                f"The vectors in {path} were made by another embedder than that of this memory, "
                f"{embedder.name}; insert them into a memory made with --dimension."
            )
        self.count = self._file.count
        self.others: Mapping[str, int] = {}
        self.noun = self._file.content

    def items(self) -> Iterator[Item]:
        for row in self._file.rows():
            yield Item(row.id, row.label, row.content, row.metadata, row.image, row.pruned)


def open_source(path: Path, memory: MemoryInfo) -> Source:
    """The folder or the Parquet file at ``path``, for this memory. Raises Refused."""
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise Refused(f"There is no file or folder {path}.")
    return Table(path, memory)


def sha256(content: Content) -> str:
    """The hash that the server keeps of what it was sent."""
    data: Any = content if isinstance(content, bytes) else content.astype("<f4").tobytes()
    return hashlib.sha256(data).hexdigest()


def unit(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """A row at unit length, with the very bits that the server makes of it."""
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
