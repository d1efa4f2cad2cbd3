"""Marks of unlearned entries, which reveal no id, and the secret that they are made with.

A mark is an HMAC of an id under the server's secret, so that without it nobody can
even check a guess. The secret is in a file that only its owner reads, made once and never again.
Marks and backups are ordered by one logical time, so no clock matters.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from visual_memory_index.errors import LostSecret
from visual_memory_index.files.disk import file_unavailable, read_small, write_private

SECRET_BYTES = 32
BEFORE_ALL = -1
ANY = ""  # no entry has this id; its mark means that some entry of the memory has a mark
CHECK = b"visual-memory tombstones 1"


def mark(secret: bytes, uid: str, id: str) -> bytes:
    """Return the HMAC that is recorded if an entry ``id`` of the memory ``uid`` is unlearned.

    Copies of the memory have the same ``uid``.
    """
    return hmac.digest(secret, b"\0".join((uid.encode(), id.encode())), "sha256")


def check_of(secret: bytes) -> bytes:
    """Return a value to be stored in the registry, by which it recognises its secret later."""
    return hmac.digest(secret, CHECK, "sha256")


def make_secret(path: Path) -> None:
    """Write a new secret to ``path``, synced, unless one is there. Raises FileUnavailable."""
    if not path.exists() and not path.is_symlink():  # a link to nothing may be of a lost disk
        write_private(path, secrets.token_bytes(SECRET_BYTES))


def read_secret(path: Path) -> bytes:
    """Return the secret at ``path``.

    Raises LostSecret if it is missing or malformed, FileUnavailable if it cannot be read.
    """
    try:
        data = read_small(path)
    except FileNotFoundError as problem:
        raise LostSecret(path) from problem
    except OSError as problem:
        raise file_unavailable(path, problem, opening=True) from problem
    if len(data) != SECRET_BYTES:
        raise LostSecret(path)
    return data
