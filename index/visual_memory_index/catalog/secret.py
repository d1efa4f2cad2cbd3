"""Random bytes in a file that only its owner reads, made once and never again."""

from __future__ import annotations

import secrets
from pathlib import Path

from visual_memory_index.errors import LostSecret
from visual_memory_index.files.disk import read_small, write_private

SECRET_BYTES = 32


def make(path: Path) -> None:
    """Make a new secret at ``path``, whole and on disk, unless one is there. Raises NotWritten."""
    if not path.exists():
        write_private(path, secrets.token_bytes(SECRET_BYTES))


def read(path: Path) -> bytes:
    """Return the secret at ``path``. Raises LostSecret where it is missing, or no secret."""
    try:
        data = read_small(path)
    except OSError as problem:
        raise LostSecret(str(path)) from problem
    if len(data) != SECRET_BYTES:
        raise LostSecret(str(path))
    return data
