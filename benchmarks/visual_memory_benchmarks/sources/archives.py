"""Unpacking of archives, so that no file lands outside of the target folder."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from visual_memory_benchmarks.errors import BadFile

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SUFFIXES = (*TARS, ".zip")
# A RuntimeError is raised by zipfile for what is encrypted, or compressed in an unknown way.
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, RuntimeError),
)


def unpack(archives: Sequence[Path], folder: Path, inside: str = "") -> None:
    """Unpack archives, and archives in them, into ``folder``, which appears whole or not at all.

    A single folder at the top is replaced by its content; if ``inside`` is given, only the folder
    of this name is kept. Raises BadFile.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for archive in archives:
        _extract(archive, partial)
    for nested in sorted(path for path in partial.rglob("*") if path.name.endswith(SUFFIXES)):
        _extract(nested, nested.parent)
        nested.unlink()
    if not any(path.is_file() for path in partial.rglob("*")):
        raise BadFile(archives[0], "no file is in it", "look at what was fetched")
    top = _top(partial) if not inside else _inside(partial, inside, archives)
    top.replace(folder)
    shutil.rmtree(partial, ignore_errors=True)


def _top(folder: Path) -> Path:
    shown = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return shown[0] if len(shown) == 1 and shown[0].is_dir() else folder


def _inside(folder: Path, name: str, archives: Sequence[Path]) -> Path:
    found = [path for path in sorted(folder.rglob(name)) if path.is_dir()]
    if not found:
        raise BadFile(archives[0], f"no folder {name} is in it", "look at what was fetched")
    return found[0]


def _extract(archive: Path, folder: Path) -> None:
    try:
        if archive.name.endswith(".zip"):
            _unzip(archive, folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise BadFile(archive, f"it is not safe to unpack ({error})", "do not use it") from None
    except DAMAGE as error:
        raise BadFile(archive, f"cannot be unpacked ({error})", "fetch it again") from None


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
                raise BadFile(archive, f"{name!r} would lie outside of the folder", "do not use it")
        file.extractall(folder)
