"""The file of the keys in a data folder, which commands change while a server reads it."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from visual_memory.scopes import SCOPES
from visual_memory_index import API_KEYS, NEEDS_KEYS, make_folder, read_small, write_private
from visual_memory_service.access.keys import NAME, PATTERN, Key, KeyRefused, Secret
from visual_memory_service.access.limits import parse_limits
from visual_memory_service.config import BadSetting

FORMAT = 1
NEEDED = (
    b"This server's callers need keys, which are in api-keys.json. Without both files anybody is "
    b"let in.\n"
)
BYTES_MAX = 1 << 20  # that ``read_small`` reads
TEXT_OF = {"id": re.compile("[0-9a-f]{12}"), "sha256": re.compile("[0-9a-f]{64}")}


class BadKeyFile(BadSetting):
    """A file of keys that cannot be read, or that no command has written."""

    def __init__(self, path: Path, problem: OSError | str) -> None:
        said, let = problem, ""
        if isinstance(problem, OSError):
            said, let = problem.strerror or "it cannot be read", "let the server read it, or "
        super().__init__(
            f"{path} cannot be used ({said}); {let}bring it back from a copy of the folder. Until "
            "then no key is known."
        )


class KeysGone(BadKeyFile):
    """A file of keys that a data folder had, and has no more."""

    def __init__(self, path: Path, needed: Path) -> None:
        BadSetting.__init__(
            self,
            f"{path} is gone, without which no key is known. Bring it back from a copy of the "
            "folder, or make keys anew (visual-memory keys create), or remove "
            f"{needed} and start the server again, which then lets anybody in.",
        )


class KeyFile:
    """The keys of a data ``folder``, which remembers in a second file that it had some."""

    def __init__(self, folder: Path) -> None:
        self.path, self.needed = folder / API_KEYS, folder / NEEDS_KEYS

    def version(self) -> tuple[int, ...] | None:
        """Return what differs after each change of the file, None if there is none."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise BadKeyFile(self.path, problem) from None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def read(self) -> list[Key]:
        """Return all keys; none if there never was a file. Raises BadKeyFile."""
        try:
            return parse(read_small(self.path))
        except FileNotFoundError:
            if self.needed.exists():
                raise KeysGone(self.path, self.needed) from None
            return []
        except OSError as problem:
            raise BadKeyFile(self.path, problem) from None
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as problem:
            raise BadKeyFile(self.path, f"it is damaged: {problem!r:.200}") from None

    def need(self) -> None:
        """Remember that callers need keys, also where the file is lost. Raises FileUnavailable."""
        if not self.needed.exists():
            write_private(self.needed, NEEDED)

    def change(
        self, change: Callable[[Sequence[Key]], Sequence[Key]], *, anew: bool = False
    ) -> None:
        """Exchange the keys for what ``change`` makes of them, one change after the other.

        ``anew`` lets it make a file that is gone from none.

        Raises BadKeyFile, FileUnavailable, KeyRefused, and as ``change`` does.
        """
        make_folder(self.path.parent)
        lock = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            owner = os.fstat(lock).st_uid
            if owner != os.geteuid():
                raise KeyRefused(
                    f"{self.path.parent} belongs to another user, number {owner}, who alone could "
                    "read what is written: run this as that user."
                )
            fcntl.flock(lock, fcntl.LOCK_EX)
            data = formatted(change(self._known(anew)))
            if len(data) >= BYTES_MAX:
                raise KeyRefused(
                    "The file of keys would be too large; give several callers one key, or remove "
                    f"revoked keys from {self.path}."
                )
            self.need()
            write_private(self.path, data)
        finally:
            os.close(lock)

    def _known(self, anew: bool) -> Sequence[Key]:
        try:
            return self.read()
        except KeysGone:
            if anew:
                return []
            raise


def formatted(keys: Sequence[Key]) -> bytes:
    """Return keys as JSON, with times as in ISO 8601."""
    values = {
        "format": FORMAT,
        "keys": [asdict(replace(key, limits=dict(key.limits))) for key in keys],
    }
    return (json.dumps(values, indent=1, default=datetime.isoformat) + "\n").encode()


def parse(data: bytes) -> list[Key]:
    """Return the keys that were ``formatted``. Raises ValueError and the like."""
    values = json.loads(data)
    if values["format"] != FORMAT:
        raise ValueError(f"its format is {values['format']!r}, not {FORMAT}")
    keys = [to_key(each) for each in values["keys"]]
    if len({key.name for key in keys}) != len(keys):
        raise ValueError("two keys have one name")
    return keys


def to_key(values: dict[str, Any]) -> Key:
    """Return the key of these values. Raises ValueError and the like."""
    times: dict[str, Any] = {
        name: to_time(values.pop(name)) for name in ("created", "expires", "revoked")
    }
    hashes = [
        Secret(each.pop("id"), each.pop("sha256"), to_time(each.pop("until")), **each)
        for each in values.pop("secrets")
    ]
    scopes, memories = values.pop("scopes"), values.pop("memories")
    if not isinstance(scopes, list) or not set(scopes) <= set(SCOPES):
        raise ValueError(f"{scopes} is no list of scopes")
    if not isinstance(memories, list) or not all(map(PATTERN.fullmatch, memories)):
        raise ValueError(f"{memories} is no list of memories")
    if not NAME.fullmatch(values["name"]):
        raise ValueError(f"{values['name']!r} is no name")
    for each in hashes:
        if not all(known.fullmatch(getattr(each, name)) for name, known in TEXT_OF.items()):
            raise ValueError("a secret is no id and hash")
    limits = parse_limits([f"{name}={limit}" for name, limit in values.pop("limits").items()])
    rest: dict[str, Any] = {
        "limits": limits,
        "scopes": tuple(scopes),
        "memories": tuple(memories),
        "secrets": tuple(hashes),
    }
    return Key(**values, **times, **rest)


def to_time(text: str | None) -> datetime | None:
    """Parse a time with its offset from UTC, or None. Raises ValueError, TypeError."""
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no offset from UTC")
    return time
