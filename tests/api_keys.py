"""Keys of callers in the data folder of a server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from visual_memory_service.access import keys
from visual_memory_service.access.key_file import KeyFile


def add(data: Path, name: str, *scopes: str, **more: Any) -> str:
    """Add a key to a data folder, and return its text."""
    text, secret = keys.new_secret()
    values: dict[str, Any] = {"memories": (), "created": datetime.now(UTC), "secrets": (secret,)}
    made = keys.Key(name, scopes, **(values | more))
    KeyFile(data).change(lambda known: [*known, made])
    return text


def revoke(data: Path, name: str) -> None:
    """Revoke a key in a data folder."""
    KeyFile(data).change(lambda known: keys.revoke(known, name, datetime.now(UTC)))
