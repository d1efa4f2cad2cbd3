"""A write as it is asked for: by whom, and under which id it may come again."""

from __future__ import annotations

from dataclasses import dataclass

WHOLE = -1
LOCAL = "local"  # the principal of all writes, until callers have keys


@dataclass(frozen=True, slots=True)
class Request:
    """The ``principal`` who asks, and an id under which a repeated write is answered as before.

    Without an id nothing is remembered. ``fingerprint`` is a hash of the content. ``start`` counts
    the entries before a batch of an import; every other write is ``WHOLE``.
    """

    id: str = ""
    fingerprint: bytes = b""
    start: int = WHOLE
    principal: str = LOCAL


WITHOUT_ID = Request()


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch of an import that is on disk."""

    start: int
    ids: list[str]
    fingerprint: bytes
