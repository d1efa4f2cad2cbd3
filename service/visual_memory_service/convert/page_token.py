"""Where a page ends, as a token that fits the same filter alone."""

from __future__ import annotations

import base64
import hashlib

from visual_memory_service.errors import BadField


def to_token(token: str, filter: str) -> str:
    """The last id or name of the page before. Raises BadField."""
    if not token:
        return ""
    try:
        sealed, last = base64.urlsafe_b64decode(token.encode()).decode().split("\0", 1)
    except ValueError:
        raise BadField("page_token", "must be one that this call answered with") from None
    if sealed != seal(filter):
        raise BadField("page_token", "belongs to another filter; begin again without one")
    return last


def from_token(last: str, filter: str) -> str:
    """A page token that only fits the same filter."""
    if not last:
        return ""
    return base64.urlsafe_b64encode(f"{seal(filter)}\0{last}".encode()).decode()


def seal(filter: str) -> str:
    """What ties a page token to its filter."""
    return hashlib.sha256(filter.encode()).hexdigest()[:16]
