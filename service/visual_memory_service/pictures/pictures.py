"""Picture files: find them in folders, note what is odd, and check that they decode."""

from __future__ import annotations

import os
import stat
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import heappop, heappush
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import Limits
from visual_memory_embedders.images.images import FORMATS, KINDS

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
EXPECTED = f"expected are folders, one for each label, with files ending in {', '.join(SUFFIXES)}"
UNREAD = (".heic", ".heif")
HEIC = "HEIC is not read: save such pictures as JPEG first"
HEIC_BEGINNINGS = (b"ftypheic", b"ftypheix", b"ftypheim", b"ftyphevc", b"ftypmif1")
NOT_UTF8 = "has a name that is not UTF-8; rename it"


class Unreadable(Refused):
    """A file cannot be read; ``why`` is a phrase that follows its name."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.why = f"cannot be read: {error.strerror or error}"
        super().__init__(f"{path} {self.why}.")


@dataclass(frozen=True, slots=True)
class Picture:
    """A file in a labelled folder; its id is the path inside that folder, with slashes."""

    path: Path
    id: str
    label: str


@dataclass(slots=True)
class PictureFiles:
    """The pictures found in files and folders, before any is used.

    ``bad`` maps pictures that cannot be used to a phrase that follows their path. ``others`` counts
    files that are no pictures, by suffix; ``remarks`` are sentences. ``unread`` are pictures in
    formats that are not supported, which ``others`` counts too.
    """

    pictures: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    bad: dict[Path, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    unread: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Add a file to ``pictures``, or to ``bad`` with the reason if it cannot be read as one."""
        if why := flaw(path):
            self.bad[path] = why
        else:
            self.pictures.append(path)

    def walk(self, folder: Path) -> None:
        """Add all files below a folder, also through links; hidden files are left out.

        Each folder is read once: where it lies, or by the first of the shortest links to it.
        """
        followed, loops, twice = list[Path](), list[Path](), list[Path]()
        seen = set[tuple[int, int]]()
        left = [(folder, frozenset(seen))]
        links = list[tuple[int, Path, frozenset[tuple[int, int]]]]()
        while left or links:
            here, above = left.pop() if left else heappop(links)[1:]
            try:
                found = here.stat()
                names = os.listdir(here)
            except OSError as error:
                self.bad[here] = f"cannot be looked into: {error.strerror}"
                continue
            own = (found.st_dev, found.st_ino)
            if own in seen:
                (loops if own in above else twice).append(here)
                continue
            seen.add(own)
            self.folders.append(here)
            if here.is_symlink() and above:
                followed.append(here)
            for path in (here / name for name in names if not name.startswith(".")):
                if not os.path.isdir(path):  # also if it cannot be examined
                    self._file(path)
                elif not is_utf8(path):
                    self.bad[path] = NOT_UTF8
                elif path.is_symlink():
                    heappush(links, (len(path.parts), path, above | {own}))
                else:
                    left.append((path, above | {own}))
        self.bad = dict(sorted(self.bad.items()))
        self._remark(followed, "Followed, as links to folders")
        self._remark(twice, "Read already by another path")
        self._remark(loops, "Not followed, as links to folders that they lie in")
        if self.unread:
            self.remarks.append(f"{HEIC}, such as with: magick mogrify -format jpg *.heic")

    def _file(self, path: Path) -> None:
        if is_picture(path) or (path.is_symlink() and not path.suffix and flaw(path)):
            self.add(path)  # a link to nothing may have been a folder
        else:
            self.others[path.suffix.encode(errors="replace").decode()] += 1
            if path.suffix.lower() in UNREAD:
                self.unread.append(path)

    def _remark(self, paths: list[Path], what: str) -> None:
        if paths:
            self.remarks.append(f"{what}: {listed(map(str, sorted(paths)))}.")


def find_files(paths: Iterable[Path]) -> PictureFiles:
    """Find the given files, and all pictures below the given folders. Raises Refused."""
    found = PictureFiles()
    for path in paths:
        if os.path.isdir(path):
            inside = PictureFiles()
            inside.walk(path)
            if not inside.pictures and not inside.bad:
                raise Refused(f"There are no pictures in {path}.", *inside.remarks)
            found.pictures += sorted(inside.pictures)
            found.bad |= inside.bad
            found.others += inside.others
            found.remarks += inside.remarks
        elif not os.path.exists(path):
            raise Refused(f"There is no file or folder {path}.")
        elif not path.is_file():
            raise Refused(f"{path} is no file that can be read again; save it as one first.")
        else:
            found.pictures.append(path)
    return found


def labelled(folder: Path) -> tuple[list[Picture], PictureFiles]:
    """Find the pictures, sorted by id, and all files of a folder with a folder for each label.

    Raises Refused if there is no such folder, or no picture in one for a label.
    """
    if not folder.is_dir():
        raise Refused(f"There is no folder {folder}.")
    found = PictureFiles()
    found.walk(folder)
    pictures, loose = [], []
    for path in found.pictures:
        inside = path.relative_to(folder).as_posix()
        label, slash, _ = inside.partition("/")
        if slash:
            pictures.append(Picture(path, inside, label))
        else:
            loose.append(path)
    if loose and not pictures:
        raise Refused(
            f"These pictures lie directly in {folder}, where a folder for each label is "
            f"expected: {listed(path.name for path in sorted(loose))}. Where all show the same, "
            "put them into a folder inside it that is named after their label."
        )
    if not pictures and not found.bad:
        why = f" {HEIC}." if found.unread else ""
        raise Refused(f"There are no pictures in {folder}; {EXPECTED}.{why}")
    pictures.sort(key=lambda picture: picture.id)
    found.pictures = [picture.path for picture in pictures]
    found.bad |= dict.fromkeys(
        sorted(loose), f"lies directly in {folder}, not in a folder of its label"
    )
    found.remarks += nested(pictures, folder)
    seen = {path.relative_to(folder).parts[:1] for path in (*found.pictures, *found.bad)}
    unread = {path.relative_to(folder).parts[0] for path in found.unread if path.parent != folder}
    lost = sorted(name for name in unread if (name,) not in seen)
    found.bad |= {folder / name: f"has HEIC pictures alone. {HEIC}" for name in lost}
    seen |= {(name,) for name in lost}
    empty = [each.name for each in found.folders[1:] if each.parent == folder]
    if empty := sorted(name for name in empty if (name,) not in seen):
        found.remarks.append(f"No pictures are in {listed(empty)}.")
    return pictures, found


def nested(pictures: Iterable[Picture], folder: Path) -> list[str]:
    """Return a remark if pictures lie in subfolders of a label's folder, as in train/test sets."""
    counts = Counter(each.label for each in pictures if each.id.count("/") > 1)
    if not counts:
        return []
    inside = [f"{label} ({count:,})" for label, count in sorted(counts.items())]
    return [
        f"Labels are the names of the folders in {folder}, also for pictures in folders inside "
        f"these: {listed(inside)}. Where the inner folders are the labels, give "
        f"{listed(str(folder / label) for label in sorted(counts))} instead."
    ]


def alike(labels: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a remark on each group of labels, new or ``known``, that hardly differ."""
    groups = defaultdict[str, set[str]](set)
    labels = set(labels)
    for label in labels.union(known):
        groups[alike_key(label)].add(label)
    return [
        "Labels that differ only by blanks, by case or by how Unicode writes their letters are "
        f"different labels: {listed(sorted(group))}."
        for _, group in sorted(groups.items())
        if len(group) > 1 and group & labels
    ]


def alike_key(label: str) -> str:
    """Normalize a label so that labels that hardly differ become equal."""
    plain = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(unicodedata.normalize("NFKC", plain).split())


def is_picture(path: Path) -> bool:
    """Return True if the suffix is that of a supported picture."""
    return path.name.lower().endswith(SUFFIXES)


def is_utf8(path: Path) -> bool:
    """Return True if the name is UTF-8, as ids must be."""
    try:
        return bool(path.name.encode())
    except UnicodeEncodeError:
        return False


def flaw(path: Path) -> str | None:
    """Return why a file cannot be read as a picture, as a phrase that follows its path, or None."""
    if not is_utf8(path):
        return NOT_UTF8
    if "\0" in str(path):
        return "has a name with a NUL character, as no file has"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        other = "; write paths with slashes, not backslashes" if "\\" in path.name else ""
        return "is a link to nothing" if path.is_symlink() else f"is not there{other}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(mode):
        return "is a folder"
    if not stat.S_ISREG(mode):
        return "is no file that can be read again"
    return None if os.access(path, os.R_OK) else "cannot be read: Permission denied"


def read(path: Path) -> bytes:
    """Read the bytes of a picture. Raises Unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(path, error) from None


def size(path: Path) -> int:
    """Return the size of a picture in bytes. Raises Unreadable."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise Unreadable(path, error) from None


def faults(contents: Sequence[Path | bytes], limits: Limits) -> list[str | None]:
    """Return for each picture why the server would refuse it, or None."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as workers:
        warnings.simplefilter("ignore")
        return list(workers.map(lambda content: fault(content, limits), contents))


def fault(content: Path | bytes, limits: Limits) -> str | None:
    """Return why the server would refuse a picture, as a phrase that follows its name, or None."""
    try:
        data = read(content) if isinstance(content, Path) else content
    except Unreadable as error:
        return error.why
    if len(data) > limits.image_bytes:
        return f"has {len(data):,} bytes, more than the server's {limits.image_bytes:,}"
    try:
        image: Image.Image = Image.open(BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > limits.image_pixels:
            most = f"{limits.image_pixels:,} at most (image_pixels_max of its configuration)"
            return f"has {width:,} × {height:,} pixels, but the server takes {most}"
        image.load()
    except UnidentifiedImageError:
        if data[4:12] in HEIC_BEGINNINGS:
            return f"is a HEIC picture. {HEIC}"
        return f"is not a whole {KINDS} image"
    except Exception as error:  # on bad bytes Pillow raises whatever its parser ran into
        return f"is damaged ({error})"
    if image.mode in ("I", "F"):
        return "has pixels of 32 bits, whose white is unknown"
    return None
