"""Notes of the audit log position of each memory, to detect an older file in its place.

The registry keeps a note for good. A small file beside it, the position file, has the position
after the memory's last commit. It is written after each commit, but not synced, so that no write
waits for it: a killed process loses none of it, a power loss its last seconds. It is never ahead of
the commits on disk.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from visual_memory_index.errors import DiskFull
from visual_memory_index.files.database import has_log
from visual_memory_index.files.disk import (
    make_folder,
    open_to_write,
    read_small,
    translate_os_errors,
)
from visual_memory_index.ledger.standing import Noted, Standing

CHECK_CHARACTERS = 16


class Latest:
    """The position files in ``folder``: for each memory's file its latest audit log position.

    ``memories`` is the folder of the memories' files, whose names are the parameters ``file``. A
    position file is not synced, so it may be missing or written only in part.
    """

    def __init__(self, folder: Path, memories: Path) -> None:
        self._folder, self._memories = folder, memories
        make_folder(folder)

    def begin(self, file: str, standing: Standing) -> None:
        """Write the audit log position of a memory that is opened, if the disk has space.

        Raises FileUnavailable if the position file cannot be written for another reason.
        """
        with suppress(DiskFull), translate_os_errors(self._path(file), opening=True):
            self._write(file, standing)

    def keep(self, file: str, standing: Standing) -> None:
        """Write a memory's audit log position to its position file, but ignore an OSError."""
        with suppress(OSError):  # a full disk, say; the write is done, and the next one notes it
            self._write(file, standing)

    def add_to(self, noted: Noted | None, file: str) -> Noted | None:
        """Return ``noted`` with ``latest`` and ``modified`` from the position file of ``file``.

        If that is missing or damaged, or ``noted`` is None, return ``noted`` unchanged. Raises
        FileUnavailable if it cannot be read.
        """
        with translate_os_errors(self._path(file), opening=True):
            try:
                data = read_small(self._path(file))
            except FileNotFoundError:
                return noted
        text, _, check = data.decode("latin-1").rpartition(" ")
        if noted is None or check != f"{check_of(text)}\n":
            return noted
        size, last, modified = text.split(" ")
        return replace(noted, latest=Standing(int(size), last), modified=int(modified))

    def written(self, file: str | None) -> float:
        """Return a number that is lower the later the position of a ``file`` was written.

        It is the lowest if there is no such file, or no position file.
        """
        with suppress(OSError):
            if file is not None and (self._memories / file).exists():
                return -self._path(file).stat().st_mtime
        return -math.inf

    def may_be_mixed(self, noted: Noted | None, file: str) -> bool:
        """Return True if ``file`` has a write-ahead log that may belong to another file.

        That is, if ``file`` was modified since its position file was written, or has no intact one.
        Return False if nothing is ``noted``.
        """
        if noted is None or not has_log(self._memories / file):
            return False
        return noted.modified != self._modified(file)

    def has(self, file: str) -> bool:
        """Return True if ``file`` has a position file: its memory was ready at some time."""
        return self._path(file).exists()

    def drop(self, file: str) -> None:
        """Remove the position file of a dropped memory, if it has one. Raises FileUnavailable."""
        with translate_os_errors(self._path(file)):
            self._path(file).unlink(missing_ok=True)

    def _write(self, file: str, standing: Standing) -> None:
        text = f"{standing.size:020} {standing.last} {self._modified(file):020}"
        data = f"{text} {check_of(text)}\n".encode()
        descriptor = open_to_write(self._path(file))
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)

    def _modified(self, file: str) -> int:
        return (self._memories / file).stat().st_mtime_ns

    def _path(self, file: str) -> Path:
        return self._folder / file.removesuffix(".sqlite")


def check_of(text: str) -> str:
    """Return the checksum at the end of a line, which tells that the line was written in full."""
    return sha256(text.encode("latin-1")).hexdigest()[:CHECK_CHARACTERS]
