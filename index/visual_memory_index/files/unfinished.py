"""Files under construction, which no catalog lists yet and a restart removes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visual_memory_index.files.disk import remove_database


class Unfinished:
    """A folder for unfinished files, emptied when this is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()

    def path(self) -> Path:
        """Return a new path in the folder."""
        return self._folder / f"{secrets.token_hex(8)}.sqlite"

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Yield a new path, and remove the file at the end unless it was moved away."""
        path = self.path()
        try:
            yield path
        finally:
            remove_database(path)
