"""Where a page ends, as a token that goes on in the same list alone."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from visual_memory_service.errors import BadField

FREE = ("page_size", "page_token", "include_vectors", "include_images", "include_thumbnails")


def to_token(request: Any) -> str:
    """The last id or name of the page before the one that a ``request`` asks for.

    Raises BadField.
    """
    if not request.page_token:
        return ""
    try:
        token = base64.urlsafe_b64decode(request.page_token.encode())
        sealed, last = token.decode().split("\0", 1)
    except ValueError:
        raise BadField("page_token", "must be one that this call answered with") from None
    if sealed != seal(request):
        raise BadField(
            "page_token", "belongs to another filter, memory or call; begin again without one"
        )
    return last


def from_token(last: str, request: Any) -> str:
    """A page token that goes on with what ``request`` lists; empty where nothing was ``last``."""
    if not last:
        return ""
    return base64.urlsafe_b64encode(f"{seal(request)}\0{last}".encode()).decode()


def seal(request: Any) -> str:
    """What ties a page token to its call and to all that chooses what is listed."""
    choice = [(each.name, value) for each, value in request.ListFields() if each.name not in FREE]
    return hashlib.sha256(repr((request.DESCRIPTOR.name, choice)).encode()).hexdigest()[:16]
