"""Ten classes of Caltech-101, from its publisher, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import time
import zipfile
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from visual_memory._terminal.output import MEBIBYTE
from visual_memory._terminal.progress import Progress

ADDRESS = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
MD5 = "3138e1922a9193bfa496528edbbc45d0"  # as torchvision has it
CLASSES = (
    "bonsai",
    "butterfly",
    "elephant",
    "grand_piano",
    "helicopter",
    "kangaroo",
    "laptop",
    "starfish",
    "sunflower",
    "umbrella",
)
WANTED = re.compile(rf"101_ObjectCategories/({'|'.join(CLASSES)})/(image_00(?:[0-3]\d|40)\.jpg)")
ANSWER_SECONDS = 10.0
DOWNLOAD_SECONDS = 150.0


class Unreachable(Exception):
    """The pictures are not to be had; the message is a sentence."""


def fetch(address: str = ADDRESS, md5: str = MD5) -> Path:
    """A folder per class with 40 pictures each, downloaded once. Raises Unreachable."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visual-memory"
    folder = cache / "caltech-101"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as scratch:
            archive = Path(scratch) / "caltech-101.zip"
            download(archive, address, md5)
            unpack(archive, Path(scratch) / "pictures")
            (Path(scratch) / "pictures").rename(folder)
    except (URLError, HTTPException, tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"Caltech-101 cannot be had from {address} ({reason}).") from None
    return folder


def download(archive: Path, address: str, md5: str) -> None:
    """Write the published file, and nothing else. Raises Unreachable, OSError, URLError."""
    found = hashlib.md5(usedforsecurity=False)
    give_up = time.monotonic() + DOWNLOAD_SECONDS
    with urlopen(address, timeout=ANSWER_SECONDS) as answer, open(archive, "wb") as file:
        length = int(answer.headers.get("Content-Length") or 0)
        with Progress("MiB of Caltech-101", length // MEBIBYTE) as progress:
            while block := answer.read(MEBIBYTE):
                found.update(block)
                file.write(block)
                progress.add(1)
                if time.monotonic() > give_up:
                    raise Unreachable(
                        f"Caltech-101 could not be downloaded within {DOWNLOAD_SECONDS:.0f} s."
                    )
    if found.hexdigest() != md5:
        raise Unreachable(
            f"What {address} sent has the MD5 {found.hexdigest()} where {md5} was published, and "
            "was not used."
        )


def unpack(archive: Path, folder: Path) -> None:
    """Write the wanted pictures under names of our own making; all else stays in the archive."""
    with zipfile.ZipFile(archive) as outer:
        name = next((n for n in outer.namelist() if n.endswith("ObjectCategories.tar.gz")), "")
        if not name:
            raise Unreachable("The archive of Caltech-101 holds no pictures.")
        with outer.open(name) as stream, tarfile.open(fileobj=stream, mode="r|gz") as inner:
            for member in inner:
                wanted = WANTED.fullmatch(member.name.removeprefix("./"))
                if wanted and member.isreg() and (file := inner.extractfile(member)):
                    path = folder / wanted[1] / wanted[2]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.read())
    if sorted(each.name for each in folder.glob("*")) != sorted(CLASSES):
        raise Unreachable("The archive of Caltech-101 lacks some of the classes.")
