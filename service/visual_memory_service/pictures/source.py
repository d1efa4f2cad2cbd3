"""What ``insert`` reads, item by item: pictures, tables of them, Parquet files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import MemoryInfo
from visual_memory_service.pictures import parquet, picture_table, pictures
from visual_memory_service.pictures.picture_table import BadRow
from visual_memory_service.pictures.pictures import SUFFIXES, Look

Content = bytes | NDArray[np.float32]
UNIT_TOLERANCE = 1e-6  # the server keeps the bits of a row whose norm is so near to 1
PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An entry to be: ``content`` is a path until it is read; ``metadata`` None says nothing.

    ``image`` is to be kept beside a row, and ``image_sha256`` what is known of one that is not. A
    ``pruned`` entry does not vote.
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
        """Bytes of the content, as far as that is known before reading."""
        if isinstance(self.content, Path):
            return pictures.size(self.content)
        content = len(self.content) if isinstance(self.content, bytes) else self.content.nbytes
        return content + len(self.image or b"")

    @property
    def picture(self) -> Path | bytes | None:
        """What has to decode: the content itself, or what is kept beside it."""
        return self.content if isinstance(self.content, Path | bytes) else self.image

    @property
    def held_bytes(self) -> int:
        """What it takes in RAM: a picture in a file nothing."""
        return 0 if isinstance(self.content, Path) else self.size

    def read(self) -> Content:
        """The picture's bytes or the float32 row. Raises Unreadable."""
        return pictures.read(self.content) if isinstance(self.content, Path) else self.content

    def sha256(self) -> str:
        """The hash by which the server knows what it was sent."""
        if self.image is not None:
            return sha256(self.image)
        return self.image_sha256 or sha256(self.read())

    @property
    def has_picture(self) -> bool:
        """Whether it is a row that the server knows by its picture, whatever the row is."""
        return self.image is not None or bool(self.image_sha256)

    def is_alike(self, label: str, metadata: Mapping[str, str]) -> bool:
        """Whether an entry has the same label, and what metadata there are to say."""
        return self.label == label and self.metadata in (None, metadata)

    def is_stored(self, label: str, content_sha256: str, metadata: Mapping[str, str]) -> bool:
        """Whether an entry is of the same content too. Raises Unreadable."""
        return self.is_alike(label, metadata) and self.sha256() == content_sha256

    def row_sha256(self) -> str:
        """The hash of the row as the server stores it, empty for a picture."""
        content = self.read()
        return "" if isinstance(content, bytes) else sha256(unit(content))


@dataclass(slots=True)
class Source:
    """Items in an order that stays.

    ``bad`` has why others cannot be used, by id, or by where they are if something else would have
    that id. ``others`` counts files that are left out unseen, by the ends of their names;
    ``remarks`` are sentences on what else was noticed.
    """

    noun: str
    count: int
    items: Callable[[], Iterator[Item]]
    bad: Mapping[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    remarks: Sequence[str] = ()


def open_source(paths: Sequence[Path], label: str | None, memory: MemoryInfo) -> Source:
    """What is at ``paths``, for this memory; all pictures get the ``label``. Raises Refused."""
    for path in paths:
        if not os.path.exists(path):
            raise Refused(f"There is no file or folder {path}.")
    rows = [path for path in paths if is_parquet(path)]
    if rows and label is not None:
        raise Refused(f"{rows[0]} has labels of its own; insert it without --label.")
    if rows and len(paths) > 1:
        raise Refused(f"{rows[0]} is a Parquet file; insert it by itself.")
    return of_rows(rows[0], memory) if rows else of_pictures(paths, label, memory)


def of_rows(path: Path, memory: MemoryInfo) -> Source:
    """A Parquet file with vectors or images. Raises Refused."""
    embedder, file = memory.embedder, parquet.File(path, kept=memory.store_images)
    if embedder and file.embedder and file.embedder != parquet.spec(embedder):
        raise Refused(
            f"The vectors in {path} were made by another embedder than that of this memory, "
            f"{embedder.name}; insert them into a memory made with --dimension."
        )

    def items() -> Iterator[Item]:
        for row in file.rows():
            yield Item(
                row.id, row.label, row.content, row.metadata, row.image, row.sha256, row.pruned
            )

    return Source(file.content, file.count, items)


def of_pictures(paths: Sequence[Path], label: str | None, memory: MemoryInfo) -> Source:
    """Folders, files and tables of pictures, seen in one look. Raises Refused."""
    items, bad, others, remarks = list[Item](), dict[str, str](), Counter[str](), list[str]()
    flawed: list[tuple[str, Path, str]] = []
    for path in paths:
        if label is not None:
            found, look = of_one_label(path, label)
        elif path.is_dir():
            found, look = of_classes(path)
        elif path.suffix.lower() == ".csv":
            found, look, bad_rows = of_table(path)
            bad |= bad_rows
        else:
            raise Refused(unknown(path))
        items += found
        flawed += [(named(each, path), each, why) for each, why in look.bad.items()]
        others += look.others
        remarks += look.remarks
    names = Counter([*(name for name, _, _ in flawed), *(item.id for item in items)])
    bad |= {name if names[name] == 1 else str(each.absolute()): why for name, each, why in flawed}
    remarks += pictures.alike((item.label for item in items), memory.labels)
    return Source("picture", len(items), lambda: iter(items), bad, others, remarks)


def of_classes(folder: Path) -> tuple[list[Item], Look]:
    """A folder per class. Raises Refused."""
    found, look = pictures.labelled(folder)
    return [Item(each.id, each.label, each.path) for each in found], look


def of_one_label(path: Path, label: str) -> tuple[list[Item], Look]:
    """A picture, or a folder of such, that have one label. Raises Refused."""
    if path.suffix.lower() == ".csv":
        raise Refused(f"{path} has labels of its own; insert it without --label.")
    look = Look()
    if path.is_dir():
        look.walk(path)
        look.remarks += below(look.pictures, path, label)
    else:
        look.add(path)
    if not look.pictures and not look.bad:
        raise Refused(f"There are no pictures in {path}.", *look.remarks)
    return [Item(named(each, path), label, each) for each in sorted(look.pictures)], look


def below(found: Sequence[Path], folder: Path, label: str) -> list[str]:
    """A remark on pictures in folders inside one that has one label."""
    inside = Counter(path.relative_to(folder).parts[0] for path in found if path.parent != folder)
    if not inside:
        return []
    folders = listed(f"{name} ({count:,})" for name, count in sorted(inside.items()))
    return [
        f"All pictures get the label {label}, also those in folders inside {folder}: {folders}. "
        "Where these folders are the labels, leave --label out."
    ]


def of_table(file: Path) -> tuple[list[Item], Look, dict[str, str]]:
    """A CSV table of paths, from its folder on, and labels; why rows are bad. Raises Refused."""
    items, look, bad = list[Item](), Look(), dict[str, str]()
    for row in picture_table.rows(file):
        if isinstance(row, BadRow):
            bad[row.place] = row.why
            continue
        path = file.parent / row.path
        look.add(path)
        if path not in look.bad:
            items.append(Item(row.id, row.label, path, row.metadata))
    if not items and not look.bad and not bad:
        raise Refused(f"There are no rows in {file}.")
    return items, look, bad


def named(path: Path, source: Path) -> str:
    """The id of a file of a source: the path inside its folder, if it is there."""
    folder = source if source.is_dir() else source.parent
    inside = path.relative_to(folder) if path.is_relative_to(folder) else path
    return inside.as_posix() if inside.parts else str(path)


def unknown(path: Path) -> str:
    """A sentence on a file that says nothing of labels."""
    if pictures.is_picture(path):
        return (
            f"{path} is a picture without a label; say with --label what it shows, or give a "
            "folder with a folder for each label, or a CSV table with the columns path and label."
        )
    return (
        f"{path} is nothing that can be inserted; give a folder with a folder for each label, a "
        f"CSV table (.csv), a Parquet file (.parquet), or with --label a picture "
        f"({', '.join(SUFFIXES)})."
    )


def is_parquet(path: Path) -> bool:
    """A file, by its name or by what it begins with."""
    if not path.is_file() or path.suffix.lower() == ".parquet":
        return path.is_file()
    with suppress(OSError), open(path, "rb") as file:
        return file.read(len(PARQUET)) == PARQUET
    return False


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
