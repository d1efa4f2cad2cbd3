"""Notes of the log position of each memory, to detect an older file in its place.

The registry keeps a note for good. A small file beside it has the position after the memory's last
commit: it is written then and not synced, so no write waits for it. A killed process loses nothing
of that, a power loss some seconds; it is never ahead of the commits on disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from visual_memory_index.files.database import has_log
from visual_memory_index.files.disk import read_small, translate_os_errors
from visual_memory_index.ledger.standing import Noted, Standing

CHECK_CHARACTERS = 16


class Latest:
    """Small files in ``folder``: one for each file in ``memories``, with its last log position."""

    def __init__(self, folder: Path, memories: Path) -> None:
        self._folder, self._memories = folder, memories
        folder.mkdir(mode=0o700, exist_ok=True)

    def keep(self, file: str, standing: Standing) -> None:
        """Write the log position of a memory to its small file, at once; an OSError is ignored."""
        with suppress(OSError):  # a full disk, say; the write is done, and the next one notes it
            text = f"{standing.size:020} {standing.last} {self._modified(file):020}"
            data = f"{text} {check_of(text)}\n".encode()
            descriptor = os.open(self._path(file), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, data, 0)
            finally:
                os.close(descriptor)

    def add_to(self, noted: Noted | None, file: str) -> Noted | None:
        """Return ``noted`` with the contents of the small file, if that is there and intact."""
        try:
            text, _, check = read_small(self._path(file)).decode("latin-1").rpartition(" ")
        except OSError:
            return noted
        if noted is None or check != f"{check_of(text)}\n":
            return noted
        size, last, modified = text.split(" ")
        return replace(noted, latest=Standing(int(size), last), modified=int(modified))

    def may_be_mixed(self, noted: Noted | None, file: str) -> bool:
        """Return True if a file was modified since the note, and so may not belong to its log."""
        if noted is None or not has_log(self._memories / file):
            return False
        return noted.modified != self._modified(file)

    def has(self, file: str) -> bool:
        """Return True if the memory in this file was ever ready."""
        return self._path(file).exists()

    def drop(self, file: str) -> None:
        """Remove the small file of a dropped memory. Raises NotWritten."""
        with translate_os_errors(self._path(file)):
            self._path(file).unlink(missing_ok=True)

    def _modified(self, file: str) -> int:
        return (self._memories / file).stat().st_mtime_ns

    def _path(self, file: str) -> Path:
        return self._folder / file.removesuffix(".sqlite")


def check_of(text: str) -> str:
    """Return a checksum, to tell a whole line from one written in part."""
    return sha256(text.encode("latin-1")).hexdigest()[:CHECK_CHARACTERS]
