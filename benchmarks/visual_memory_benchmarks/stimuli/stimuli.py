"""Stimulus sets: pictures with the category that each shows, and their paths."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageOps

from visual_memory import InvalidArgument
from visual_memory_benchmarks.distortions.picture import Picture
from visual_memory_benchmarks.errors import BadFile, BadPicture, MissingData
from visual_memory_benchmarks.files.folder import files_below

MANIFEST = "manifest.csv"
WHERE = "Name the folder that has it with --data DIR."
POSITION = re.compile(r"images\[(\d+)\]")
CATEGORY_COLUMNS = ("category", "shape_category")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Stimulus:
    """A picture; ``file`` is its path inside the set, ``attributes`` are its other properties."""

    file: str
    category: str
    sha256: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StimulusSet:
    """Pictures of one folder; ``sha256`` is the hash of the manifest, or the ``fingerprint``.

    The fingerprint is taken if there is no manifest, or some pictures only were selected.
    """

    name: str
    folder: Path
    stimuli: tuple[Stimulus, ...]
    sha256: str

    @property
    def categories(self) -> tuple[str, ...]:
        """Return the categories, in alphabetical order."""
        return tuple(sorted({each.category for each in self.stimuli}))

    def path(self, stimulus: Stimulus) -> Path:
        """Return the path of a picture."""
        return self.folder / stimulus.file

    def read(self, stimulus: Stimulus) -> bytes:
        """Read a picture's bytes. Raises BadPicture if they do not match ``sha256``."""
        path = self.path(stimulus)
        data = _read(path)
        if hashlib.sha256(data).hexdigest() != stimulus.sha256:
            raise BadPicture(str(path), "is not the picture that it was; fetch the set again")
        return data

    def where(self, predicate: Callable[[Stimulus], bool]) -> StimulusSet:
        """Select pictures, in their order; the same set if all match."""
        chosen = tuple(filter(predicate, self.stimuli))
        if len(chosen) == len(self.stimuli):
            return self
        return StimulusSet(self.name, self.folder, chosen, fingerprint(chosen))


def fingerprint(stimuli: Iterable[Stimulus]) -> str:
    """Return SHA-256 of the sorted lines ``HASH FILE``."""
    lines = sorted(f"{each.sha256}  {each.file}\n" for each in stimuli)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load(name: str, folder: Path) -> StimulusSet:
    """Load the set that a folder's manifest.csv lists or, without one, its folders of categories.

    Raises MissingData, BadFile.
    """
    if not folder.is_dir():
        raise MissingData(name, f"there is no folder {folder}", WHERE)
    manifest = folder / MANIFEST
    if manifest.is_file():
        return _listed(name, folder)
    stimuli = tuple(
        Stimulus(file, category, hashed(folder / file), MappingProxyType({}))
        for file, category in labelled(name, folder)
    )
    return StimulusSet(name, folder, stimuli, fingerprint(stimuli))


def _listed(name: str, folder: Path) -> StimulusSet:
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        columns = reader.fieldnames or ()
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path, f"cannot be read ({error})", "write or fetch it again") from None
    category = next((each for each in CATEGORY_COLUMNS if each in columns), None)
    if category is None or not {"file", "sha256"} <= set(columns):
        wanted = f"file, sha256 and {' or '.join(CATEGORY_COLUMNS)}"
        raise BadFile(path, f"it lacks some of the columns {wanted}", "write or fetch it again")
    stimuli = []
    for line, row in rows:
        if None in row or None in row.values():
            raise BadFile(path, f"line {line} is not complete", "write or fetch it again")
        others = {key: row[key] for key in columns if key not in ("file", "sha256", category)}
        stimulus = Stimulus(row["file"], row[category], row["sha256"], MappingProxyType(others))
        if not (folder / stimulus.file).is_file():
            raise MissingData(name, f"{MANIFEST} lists {stimulus.file}, which is not in {folder}")
        stimuli.append(stimulus)
    if not stimuli:
        raise MissingData(name, f"{path} lists no picture")
    return StimulusSet(name, folder, tuple(stimuli), hashlib.sha256(data).hexdigest())


def labelled(name: str, folder: Path) -> list[tuple[str, str]]:
    """Return path and category of each picture in a folder of categories, sorted by path.

    Raises MissingData, BadFile.
    """
    found = sorted(path.relative_to(folder).as_posix() for path in pictures(folder))
    if loose := [file for file in found if "/" not in file]:
        raise MissingData(
            name, f"{loose[0]} lies directly in {folder}, where a folder for each category belongs"
        )
    if not found:
        raise MissingData(name, f"there are no pictures in {folder}", WHERE)
    return [(file, file.partition("/")[0]) for file in found]


def pictures(folder: Path) -> Iterator[Path]:
    """Yield every picture below a folder, except hidden ones. Raises BadFile."""
    return (path for path in files_below(folder) if path.name.lower().endswith(SUFFIXES))


def hashed(path: Path) -> str:
    """Return SHA-256 of a file. Raises BadPicture."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadPicture(str(path), f"cannot be read ({error.strerror})") from None


def decode(found: StimulusSet, stimulus: Stimulus) -> Picture:
    """Decode a picture of a set, upright, to h × w × 3 of uint8. Raises BadPicture."""
    data = found.read(stimulus)
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        return np.array(image.convert("RGB"))
    except Exception as error:  # on bad bytes Pillow raises whatever its parser ran into
        raise BadPicture(str(found.path(stimulus)), f"does not decode ({error})") from None


def unreadable(error: InvalidArgument, names: Sequence[str]) -> BadPicture:
    """Return a BadPicture that names the picture which the server could not decode.

    ``names`` are those of the pictures sent. Raises ``error`` itself if no picture is at fault.
    """
    for path, wish in error.field_violations:
        if found := POSITION.match(path):
            return BadPicture(names[int(found[1])], wish.rstrip("."))
    raise error
