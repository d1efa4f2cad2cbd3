"""Fixtures of the index tests: a disk that is soon full, and damage to a page."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A folder on a file system of a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Fill the disk, so that not one byte is left."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    def make_room(self, count: int) -> None:
        """Free ``count`` bytes of a filled disk."""
        left = self._ballast.stat().st_size - count
        assert left >= 0, "what fills the disk is something else by now"
        with self._ballast.open("r+b") as file:
            file.truncate(left)

    def make_read_only(self) -> None:
        """Refuse every write from now on; no file may be open for writing."""
        how = ["mount", "-o", "remount,ro", str(self.folder)]
        subprocess.run(how, capture_output=True, check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def garble() -> Callable[[Path, int, int], None]:
    """Return a function that overwrites a page of an SQLite file, by its number from 1."""

    def overwrite(path: Path, page: int, page_bytes: int) -> None:
        with path.open("r+b") as file:
            file.seek((page - 1) * page_bytes)
            file.write(b"\xa5" * page_bytes)

    return overwrite
