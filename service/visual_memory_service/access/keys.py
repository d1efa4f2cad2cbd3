"""Keys of callers, and their changes: each key is a name with scopes, and hashes of its secrets."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from visual_memory.scopes import PERMITS, SCOPES

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}", re.ASCII)
PATTERN = re.compile(r"[a-z0-9._*?-]{1,63}", re.ASCII)
TEXT = re.compile(r"vm_([0-9a-f]{12})_([0-9a-f]{64})")
MEMORY_MAX = 63  # letters of the name of a memory
ID_BYTES, SECRET_BYTES = 6, 32  # of a text, in hex
LOCAL = "local"  # the principal where there are no keys


class KeyRefused(Exception):
    """A change of keys that cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Secret:
    """SHA-256, in hex, of a secret, with the ``id`` that the text of its key has before it.

    It counts ``until`` a time, or as long as its key if that is None. A secret has 256 random bits,
    so that its hash needs no salt, and cannot be searched for.
    """

    id: str
    sha256: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """The right of a caller to some calls; ``name`` is the principal of what the caller does.

    ``memories`` are names or patterns of names, where ``*`` is any text and ``?`` one letter; none
    are for all memories. ``limits`` go before those that the server has for all. A key without
    ``secrets`` is that of callers with a certificate of TLS for its name. All times are of UTC.
    """

    name: str
    scopes: tuple[str, ...]
    memories: tuple[str, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()

    def permits(self, scope: str) -> bool:
        """Return True if the key permits what needs a scope."""
        return any(scope in PERMITS[each] for each in self.scopes)

    def is_for(self, memory: str) -> bool:
        """Return True if the key is for a memory of this name."""
        if not self.memories:
            return True
        known = len(memory) <= MEMORY_MAX
        return known and any(fnmatchcase(memory, each) for each in self.memories)


def create(keys: Sequence[Key], key: Key) -> list[Key]:
    """Return all keys with another. Raises KeyRefused."""
    if not NAME.fullmatch(key.name) or key.name == LOCAL:
        raise KeyRefused(
            "NAME must be 1 to 63 of a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or "
            f"digit, and not {LOCAL}, but is {key.name!r:.80}."
        )
    if any(each.name == key.name for each in keys):
        raise KeyRefused(
            f'The name "{key.name}" is that of a key already, perhaps a revoked one: choose '
            "another, as the audit log knows callers by their names, or rotate that key."
        )
    for pattern in key.memories:
        if not PATTERN.fullmatch(pattern):
            raise KeyRefused(
                f"--memory must be a memory's name, perhaps with * and ?, but is {pattern!r:.80}."
            )
    if key.expires is not None and key.expires <= key.created:
        raise KeyRefused(f"--expires must be in the future, but is {key.expires.isoformat()}.")
    in_order = tuple(scope for scope in SCOPES if scope in key.scopes)
    return [*keys, replace(key, scopes=in_order)]


def revoke(keys: Sequence[Key], name: str, now: datetime) -> list[Key]:
    """Return all keys, of which that of this name is revoked. Raises KeyRefused."""
    key = key_of(keys, name)
    if key.revoked is not None:
        raise KeyRefused(f'The key "{name}" was revoked already, at {key.revoked.isoformat()}.')
    return [replace(each, revoked=now) if each is key else each for each in keys]


def rotate(
    keys: Sequence[Key], name: str, secret: Secret, *, former_until: datetime, now: datetime
) -> list[Key]:
    """Return all keys, of which that of this name has a new ``secret``.

    Its former secrets count until a time at most, those of a revoked key no longer; then it is no
    longer revoked. Secrets that have ended are dropped. Raises KeyRefused.
    """
    key = key_of(keys, name)
    if key.expires is not None and key.expires <= now:
        raise KeyRefused(f'The key "{name}" has expired, whatever its secret; make another.')
    if not key.secrets:
        raise KeyRefused(f'The key "{name}" is by certificate, so it has no secret to rotate.')
    former = key.secrets if key.revoked is None else ()
    ending = [
        replace(each, until=min(each.until or former_until, former_until))
        for each in former
        if each.until is None or each.until > now
    ]
    rotated = replace(key, secrets=(secret, *ending), revoked=None)
    return [rotated if each is key else each for each in keys]


def limit(keys: Sequence[Key], name: str, limits: Mapping[str, float]) -> list[Key]:
    """Return all keys, of which that of this name has these limits. Raises KeyRefused."""
    key = key_of(keys, name)
    return [replace(each, limits=limits) if each is key else each for each in keys]


def key_of(keys: Sequence[Key], name: str) -> Key:
    """Return the key of this name. Raises KeyRefused."""
    for key in keys:
        if key.name == name:
            return key
    known = ", ".join(key.name for key in keys) or "none"
    raise KeyRefused(f'No key has the name "{name[:80]}"; known are: {known}.')


def new_secret() -> tuple[str, Secret]:
    """Return the text of a new key, which nobody can find again, and its secret."""
    id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
    return f"vm_{id}_{secret}", Secret(id, sha256(secret))


def sha256(secret: str) -> str:
    """Return the hash of a secret, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()
