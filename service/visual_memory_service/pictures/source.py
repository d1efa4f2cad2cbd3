"""Sources of ``insert``: folders and tables of pictures, Parquet files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from visual_memory.tables import embedder_json
from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import MemoryInfo
from visual_memory_service.pictures import parquet, picture_table, pictures
from visual_memory_service.pictures.item import Item
from visual_memory_service.pictures.pictures import SUFFIXES, PictureFiles

PARQUET = b"PAR1"


@dataclass(slots=True)
class Source:
    """Items to insert, in a fixed order.

    ``bad`` maps items that cannot be used to the reason, by id, or by path if the id is not unique.
    ``others`` counts files that are no pictures, by suffix; ``remarks`` are sentences.
    """

    noun: str
    count: int
    items: Callable[[], Iterator[Item]]
    bad: Mapping[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    remarks: Sequence[str] = ()


def open_source(paths: Sequence[Path], label: str | None, memory: MemoryInfo) -> Source:
    """Open pictures or a Parquet file at ``paths`` to insert them into ``memory``.

    All pictures get the ``label`` if given. Raises Refused if ``paths`` are missing or cannot be
    used.
    """
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
    """Open a Parquet file with vectors or images; pictures are read if ``memory`` stores them.

    Raises Refused if it cannot be read, or does not fit the memory's embedder.
    """
    embedder = memory.embedder
    file = parquet.File(path, memory.dimension, kept=memory.store_images)
    if not embedder and file.content == "image":
        raise Refused(
            f"{path} holds images, but {memory.name} was made with a dimension, without an "
            "embedder; insert vectors, or create a memory with an embedder."
        )
    if embedder and file.embedder and file.embedder != embedder_json(embedder):
        raise Refused(
            f"The vectors in {path} were made by another embedder than that of this memory, "
            f"{embedder.name}; insert them into a memory made with --dimension."
        )
    remarks = (
        [f"The column image of {path} is left out, as {memory.name} keeps no pictures."]
        if file.leaves_out_images
        else []
    )
    return Source(file.content, file.count, file.items, remarks=remarks)


def of_pictures(paths: Sequence[Path], label: str | None, memory: MemoryInfo) -> Source:
    """Open folders, files and CSV tables of pictures, all under one ``label`` if it is given.

    Labels that hardly differ from each other or from those of ``memory`` give a remark. Raises
    Refused if a path has no pictures or no label.
    """
    items, bad, others, remarks = list[Item](), dict[str, str](), Counter[str](), list[str]()
    flawed: list[tuple[str, Path, str]] = []
    for path in paths:
        if label is not None:
            found, files = of_one_label(path, label)
        elif path.is_dir():
            pictured, files = pictures.labelled(path)
            found = [Item(each.id, each.label, each.path) for each in pictured]
        elif path.suffix.lower() == ".csv":
            found, files, bad_rows = of_table(path)
            bad |= bad_rows
        else:
            raise Refused(unknown(path))
        items += found
        flawed += [(id_of(each, path), each, why) for each, why in files.bad.items()]
        others += files.others
        remarks += files.remarks
    names = Counter([*(name for name, _, _ in flawed), *(item.id for item in items)])
    bad |= {name if names[name] == 1 else str(each.absolute()): why for name, each, why in flawed}
    remarks += pictures.alike((item.label for item in items), memory.labels)
    return Source("picture", len(items), lambda: iter(items), bad, others, remarks)


def of_one_label(path: Path, label: str) -> tuple[list[Item], PictureFiles]:
    """Return a picture, or the pictures in a folder, as items with one label, and the files found.

    Raises Refused if there are no pictures, or the path is a table with its own labels.
    """
    if path.suffix.lower() == ".csv":
        raise Refused(f"{path} has labels of its own; insert it without --label.")
    files = PictureFiles()
    if path.is_dir():
        files.walk(path)
        files.remarks += below(files.pictures, path, label)
    else:
        files.add(path)
    if not files.pictures and not files.bad:
        raise Refused(f"There are no pictures in {path}.", *files.remarks)
    return [Item(id_of(each, path), label, each) for each in sorted(files.pictures)], files


def below(found: Sequence[Path], folder: Path, label: str) -> list[str]:
    """Return a remark if pictures lie in subfolders of a folder that gets one label."""
    inside = Counter(path.relative_to(folder).parts[0] for path in found if path.parent != folder)
    if not inside:
        return []
    folders = listed(f"{name} ({count:,})" for name, count in sorted(inside.items()))
    return [
        f"All pictures get the label {label}, also those in folders inside {folder}: {folders}. "
        "Where these folders are the labels, leave --label out."
    ]


def of_table(file: Path) -> tuple[list[Item], PictureFiles, dict[str, str]]:
    """Return the pictures of a CSV table as items, the files found, and reasons for bad rows.

    Bad rows are named by their place in the table. Raises Refused if the table cannot be read.
    """
    items, files = list[Item](), PictureFiles()
    rows, bad = picture_table.read(file)
    for row in rows:
        path = file.parent / row.path
        files.add(path)
        if path not in files.bad:
            items.append(Item(row.id, row.label, path, row.metadata))
    if not items and not files.bad and not bad:
        raise Refused(f"There are no rows in {file}.")
    return items, files, bad


def id_of(path: Path, source: Path) -> str:
    """Return the id of a file: its path inside the folder of the source."""
    folder = source if source.is_dir() else source.parent
    inside = path.relative_to(folder) if path.is_relative_to(folder) else path
    return inside.as_posix() if inside.parts else str(path)


def unknown(path: Path) -> str:
    """Return a sentence on a file that has no label."""
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
    """Return True for a file with the suffix or the first bytes of Parquet."""
    if not path.is_file() or path.suffix.lower() == ".parquet":
        return path.is_file()
    with suppress(OSError), open(path, "rb") as file:
        return file.read(len(PARQUET)) == PARQUET
    return False
