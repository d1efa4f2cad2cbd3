"""Files that are being made: none is listed yet, so what is left of them at a start goes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visual_memory_index.files.disk import remove_database


class Unfinished:
    """A folder of its own for them, which is emptied here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()

    def path(self) -> Path:
        """Where a file can be made."""
        return self._folder / f"{secrets.token_hex(8)}.sqlite"

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Where a file can be made that goes in the end, unless it was moved away."""
        path = self.path()
        try:
            yield path
        finally:
            remove_database(path)
