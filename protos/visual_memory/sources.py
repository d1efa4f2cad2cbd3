"""Sources: labelled pictures where they are, and their insertion into a memory.

Each source is an iterator of items, read as they are inserted. Datasets are given as the objects of
their libraries, none of which this module imports; folders and tables may be at any address that
fsspec reads, such as ``s3://bucket/folder`` (extra ``remote``), or on this machine.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_memory.errors import ITEM, InvalidArgument, refuse

if TYPE_CHECKING:
    from visual_memory._messages.images import Image
    from visual_memory._transport.imports import Progress
    from visual_memory.client import Memory

BATCH = 256
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
OF_TABLE = ("path", "label", "id")


@dataclass(frozen=True, slots=True)
class Item:
    """A labelled picture of a source; the same source gives it the same id each time."""

    id: str
    image: Image
    label: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inserted:
    """What an insertion did: how many items it stored, and left out as they were stored before.

    ``other_labels`` maps ids that are stored with another label to (stored, of the source); they
    stay as they are. ``bad`` maps an id to the reason why its item could not be used.
    """

    inserted: int
    stored_before: int
    other_labels: dict[str, tuple[str, str]]
    bad: dict[str, str]


def insert(
    memory: Memory,
    items: Iterable[Item],
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Inserted:
    """Insert the items whose ids are not stored yet, in batches.

    So the same call goes on where one was interrupted, and takes what is new in a source that has
    grown. ``progress`` is called with the items done and, where ``items`` has no length, with those
    seen as their total. Raises InvalidArgument for an item that cannot be used, naming its id,
    unless ``skip_bad``; what was stored before stays stored.
    """
    total = len(items) if isinstance(items, Sequence) else 0
    known = {entry.id: entry.label for entry in memory}
    batch, bad, other_labels = list[Item](), dict[str, str](), dict[str, tuple[str, str]]()
    seen = inserted = 0
    for seen, item in enumerate(items, 1):
        label = known.get(item.id)
        if label is None:
            known[item.id] = item.label
            batch.append(item)
        elif label != item.label:
            other_labels[item.id] = (label, item.label)
        if len(batch) == BATCH:
            inserted += insert_batch(memory, batch, bad, skip_bad=skip_bad)
            if progress is not None:
                progress(seen, total or seen)
    inserted += insert_batch(memory, batch, bad, skip_bad=skip_bad)
    if progress is not None and seen:
        progress(seen, seen)
    return Inserted(inserted, seen - inserted - len(bad), other_labels, bad)


def insert_batch(memory: Memory, batch: list[Item], bad: dict[str, str], *, skip_bad: bool) -> int:
    """Insert a batch and empty it; return how many were stored. Items at fault go to ``bad``."""
    while batch:
        try:
            memory.insert(
                [item.image for item in batch],
                labels=[item.label for item in batch],
                ids=[item.id for item in batch],
                metadata=[item.metadata for item in batch],
            )
        except InvalidArgument as error:
            at, reason = fault(error)
            if at is None:
                raise
            item = batch.pop(at)
            if not skip_bad:
                raise InvalidArgument(f"{item.id} {reason}", reason=error.reason) from None
            bad[item.id] = reason
        else:
            count = len(batch)
            batch.clear()
            return count
    return 0


def fault(error: InvalidArgument) -> tuple[int | None, str]:
    """Return the number of the item at fault, None if it is none, and what is wrong with it."""
    for path, reason in error.field_violations:
        if found := ITEM.match(path):
            return int(found[2]), reason.removeprefix(path).strip()
    return None, ""


def dataset(
    data: Any, *, image: str = "image", label: str = "label", id: str | None = None
) -> Iterator[Item]:
    """Yield the rows of a Hugging Face dataset: one split, held or streamed.

    Pictures stay encoded as they are stored. Labels that are classes get their names. Ids are those
    of the column ``id``, or the split and the number of the row; other columns of texts and numbers
    become metadata. Raises InvalidArgument for several splits and for columns that there are not.
    """
    if isinstance(data, Mapping):
        refuse("data", f"has several splits: give one, such as data[{next(iter(data))!r}]")
    features = data.features or {}
    names = data.column_names or list(features)
    for name in (image, label, *([id] if id else [])):
        if name not in names:
            refuse("data", f"has no column {name!r}, but {', '.join(map(repr, names))}")
    if hasattr(features.get(image), "decode"):
        data = data.cast_column(image, type(features[image])(decode=False))
    classes = getattr(features.get(label), "names", None)
    for number, row in enumerate(data):
        held = row[image]
        picture = held.get("bytes") or held.get("path") if isinstance(held, Mapping) else held
        if picture is None:
            refuse("data", f"has no picture in row {number}")
        rest = {
            name: str(value)
            for name, value in row.items()
            if name not in (image, label, id) and isinstance(value, str | int | float)
        }
        yield Item(
            str(row[id]) if id else f"{data.split or 'row'}-{number:08}",
            picture,
            named(row[label], classes),
            rest,
        )


def torchvision(data: Any) -> Iterator[Item]:
    """Yield the samples of a torchvision dataset of labelled pictures, without its transforms.

    Of an ImageFolder the ids are the paths below its root; of others the number of the sample,
    after the names of the dataset. Labels are the names in ``data.classes``.
    """
    classes = getattr(data, "classes", None)
    samples = getattr(data, "samples", None)
    if samples is not None:
        root = Path(data.root)
        for path, label in samples:
            yield Item(Path(path).relative_to(root).as_posix(), path, named(label, classes))
        return
    kept, data.transforms = data.transforms, None
    transform, data.transform = data.transform, None
    prefix = f"{type(data).__name__}-{split_of(data)}"
    try:
        for number in range(len(data)):
            picture, label = data[number][:2]
            yield Item(f"{prefix}-{number:08}", picture, named(label, classes))
    finally:
        data.transforms, data.transform = kept, transform


def split_of(data: Any) -> str:
    """Return the name of the part that a torchvision dataset is."""
    if isinstance(split := getattr(data, "split", None), str):
        return split
    return "train" if getattr(data, "train", True) else "test"


def webdataset(
    samples: Iterable[Mapping[str, Any]],
    *,
    label: str = "cls",
    classes: Sequence[str] | None = None,
) -> Iterator[Item]:
    """Yield the samples of webdataset shards, not decoded, with their keys as ids.

    ``label`` is the suffix of the file with the label; ``json:label`` is the field of a JSON file.
    A label that is a number is one of ``classes``, where they are given. Fields of the JSON file
    become metadata.
    """
    suffix, _, name = label.partition(":")
    for sample in samples:
        key = str(sample["__key__"])
        picture = next((sample[each] for each in map(bare, PICTURES) if each in sample), None)
        if picture is None or suffix not in sample:
            has = ", ".join(each for each in sample if not each.startswith("__"))
            refuse("samples", f"have no picture or no {suffix}: {key} has {has}")
        fields = json.loads(sample["json"]) if "json" in sample else {}
        said = fields.pop(name) if name else bytes(sample[suffix]).decode().strip()
        rest = {key: str(value) for key, value in fields.items()}
        yield Item(key, picture, named(said, classes), rest)


def bare(suffix: str) -> str:
    """Return a suffix without its dot."""
    return suffix[1:]


def folder(url: str, **options: Any) -> Iterator[Item]:
    """Yield the pictures below a folder that has a folder for each label.

    Ids are the paths below it. ``options`` are those of the file system, such as ``anon=True``.
    """
    system, root = open_system(url, options)
    for path in sorted(system.find(root)):
        below = posixpath.relpath(path, root)
        if "/" in below and posixpath.splitext(below)[1].lower() in PICTURES:
            yield Item(below, system.cat_file(path), below.rpartition("/")[0].rpartition("/")[2])


def table(url: str, **options: Any) -> Iterator[Item]:
    """Yield the pictures that a CSV table lists in its columns path and label.

    Paths are relative to the folder of the table, or are addresses. Ids are in the column id, or
    are the paths; other columns become metadata. Raises InvalidArgument for missing columns.
    """
    system, path = open_system(url, options)
    text = io.StringIO(system.cat_file(path).decode("utf-8-sig"), newline="")
    rows = csv.DictReader(text, strict=True)
    names = rows.fieldnames or ()
    if missing := [name for name in OF_TABLE[:2] if name not in names]:
        refuse("url", f"has no column {' and no column '.join(missing)}: {url}")
    for row in rows:
        if None in row or None in row.values():
            refuse("url", f"has another number of cells in line {rows.line_num}: {url}")
        picture = row["path"]
        if "://" in picture:
            there, at = open_system(picture, options)
        else:
            there, at = system, posixpath.join(posixpath.dirname(path), picture)
        rest = {name: value for name, value in row.items() if name not in OF_TABLE and value}
        yield Item(row.get("id") or picture, there.cat_file(at), row["label"], rest)


def open_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the file system of an address, and the path there."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ImportError(
            "Addresses of files need fsspec: pip install 'visual-memory[remote]'."
        ) from None
    system, path = url_to_fs(url, **options)
    return system, str(path).rstrip("/")


def named(label: object, classes: Sequence[str] | None) -> str:
    """Return a label, by its name if it is the number of a class. Raises InvalidArgument."""
    text = str(label)
    if classes is None or not text.isdecimal():
        return text
    if int(text) >= len(classes):
        refuse("classes", f"are {len(classes)}, so that none has the number {text}")
    return str(classes[int(text)])
