"""FiftyOne: decisions and suspects as datasets that it loads, and its datasets as sources.

The format is FiftyOneImageClassificationDataset: a folder ``data`` of pictures and ``labels.json``,
which says of each picture a label, a confidence and attributes. Nothing of FiftyOne is imported.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_memory.errors import NotFound, refuse
from visual_memory.sources import Item
from visual_memory.types import Assessment, Decision

if TYPE_CHECKING:
    from visual_memory.client import Memory

DATA, LABELS = "data", "labels.json"
Labels = dict[str, dict[str, Any]]


def write_decisions(
    folder: str | os.PathLike[str],
    pictures: Sequence[str | os.PathLike[str]],
    decisions: Sequence[Decision],
) -> int:
    """Write the decisions on files, in their order, to a new folder; the pictures stay in place.

    The confidence is the calibrated one, where a decision has it; the attributes are the nearest
    entry and its distance. Returns the number of pictures. Raises InvalidArgument for a folder that
    is there, and for other numbers of pictures and decisions.
    """
    if len(pictures) != len(decisions):
        refuse("decisions", f"are {len(decisions)}, but the pictures are {len(pictures)}")
    labels: Labels = {}
    for path, decision in zip(pictures, decisions, strict=True):
        said: dict[str, Any] = {"rejected": decision.rejected}
        if len(decision.neighbors):
            nearest = decision.neighbors[0]
            said |= {"nearest": nearest.id, "distance": float(nearest.distance)}
        confidence = decision.calibrated_confidence
        labels[os.path.abspath(path)] = {
            "label": decision.label,
            "confidence": float(decision.confidence if confidence is None else confidence),
            "attributes": said,
        }
    return write(folder, labels, {})


def write_suspects(folder: str | os.PathLike[str], memory: Memory, assessment: Assessment) -> int:
    """Write what looks mislabelled, with the stored pictures, to a new folder.

    The label is that of the entry, the confidence what speaks for it; the attributes are the entry,
    the proposed label, its score and the reason. Entries that are gone are left out. Returns the
    number of pictures. Raises InvalidArgument for a memory that stores no pictures, and for a
    folder that is there.
    """
    if not memory.info().store_images:
        refuse("memory", "stores no pictures: it was created without store_images")
    labels: Labels = {}
    files: dict[str, bytes] = {}
    for number, suspect in enumerate(assessment.suspects):
        try:
            entry = memory.get(suspect.id, include_image=True)
        except NotFound:
            continue
        if entry.image is None:
            continue
        name = f"{number:08}"  # an id need not be a name of a file
        files[f"{name}{suffix(entry.image)}"] = entry.image
        labels[name] = {
            "label": entry.label,
            "confidence": 1 - suspect.score,
            "attributes": {
                "entry": entry.id,
                "proposed": suspect.proposed,
                "score": suspect.score,
                "reason": suspect.reason,
            },
        }
    return write(folder, labels, files)


def suffix(picture: bytes) -> str:
    """Return the suffix of a picture's kind, such as ``.jpeg``."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as opened:
        return f".{(opened.format or 'jpeg').lower()}"


def write(folder: str | os.PathLike[str], labels: Labels, files: Mapping[str, bytes]) -> int:
    """Write a dataset to a new folder."""
    root = Path(folder)
    try:
        (root / DATA).mkdir(parents=True)
    except FileExistsError:
        refuse("folder", f"is there already: {root}")
    for name, data in files.items():
        (root / DATA / name).write_bytes(data)
    said = {"classes": None, "labels": labels}
    (root / LABELS).write_text(json.dumps(said, ensure_ascii=False, indent=1), "utf-8")
    return len(labels)


def read(folder: str | os.PathLike[str]) -> Iterator[Item]:
    """Yield the labelled pictures of a dataset that FiftyOne exported in this format.

    Ids are the names of the files below ``data`` without their suffix; attributes become metadata.
    Raises InvalidArgument for a label without a file.
    """
    root = Path(folder)
    said = json.loads((root / LABELS).read_text("utf-8"))
    classes = said.get("classes")
    files = dict(names((root / DATA).rglob("*"), root / DATA))
    for name, held in said["labels"].items():
        path = Path(name) if os.path.isabs(name) else files.get(name)
        if path is None:
            refuse("folder", f"has a label of {name}, but no file of it in {root / DATA}")
        label = held["label"] if isinstance(held, Mapping) else held
        if label is None:
            continue
        rest = held.get("attributes") or {} if isinstance(held, Mapping) else {}
        chosen = classes[label] if isinstance(label, int) and classes else str(label)
        metadata = {key: str(value) for key, value in rest.items() if value is not None}
        yield Item(name, path, chosen, metadata)


def names(paths: Iterable[Path], root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name without suffix, path) of the files below a folder."""
    for path in paths:
        if path.is_file():
            yield path.relative_to(root).with_suffix("").as_posix(), path
