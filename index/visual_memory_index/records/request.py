"""A request to write: its author, and the id by which a repeated request is recognised."""

from __future__ import annotations

from dataclasses import dataclass

WHOLE = -1
LOCAL = "local"  # the principal of all writes, until callers have keys


@dataclass(frozen=True, slots=True)
class Request:
    """A write's ``principal``, and an id under which a repeated write gets the same answer.

    Without an id no answer is remembered. ``fingerprint`` is a hash of the content. ``start``
    counts the entries before a batch of an import; for every other write it is ``WHOLE``.
    """

    id: str = ""
    fingerprint: bytes = b""
    start: int = WHOLE
    principal: str = LOCAL


WITHOUT_ID = Request()


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch of an import that is on disk; ``start`` counts the entries before it."""

    start: int
    ids: list[str]
    fingerprint: bytes
