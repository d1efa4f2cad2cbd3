"""Random bytes in a file that only its owner reads, made once and never again."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from visual_memory_index.errors import LostSecret

SECRET_BYTES = 32


def make(path: Path) -> None:
    """A new secret at ``path``, whole and on disk, unless one is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        return
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)  # of a start that was cut short
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, secrets.token_bytes(SECRET_BYTES))
        os.fsync(file)
    finally:
        os.close(file)
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> bytes:
    """Raises LostSecret where it is missing, or no secret."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) != SECRET_BYTES:
        raise LostSecret(str(path))
    return data
