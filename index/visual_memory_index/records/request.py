"""A write that may come again, to be answered as the first time."""

from __future__ import annotations

from dataclasses import dataclass

WHOLE = -1


@dataclass(frozen=True, slots=True)
class Request:
    """Its id, a hash of its content, and where a batch starts.

    ``start`` counts the entries before a batch of an import; every other write is ``WHOLE``.
    """

    id: str
    fingerprint: bytes
    start: int = WHOLE


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch of an import that is on disk."""

    start: int
    ids: list[str]
    fingerprint: bytes
