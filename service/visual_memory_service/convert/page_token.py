"""Page tokens: each is valid only for the listing that it continues."""

from __future__ import annotations

import base64
import hashlib
from types import MappingProxyType
from typing import Any

from visual_memory_index import Memory
from visual_memory_service.errors import BadField

SIZES = MappingProxyType(  # of a page, by default and at most
    {
        "GetMisleadingCountsRequest": (10_000, 10_000),
        "ListAuditEventsRequest": (1000, 10_000),
        "ListEntriesRequest": (1000, 10_000),
        "ListMemoriesRequest": (100, 1000),
        "ListOperationsRequest": (100, 1000),
    }
)
FREE = ("page_size", "page_token", "include_vectors", "include_images", "include_thumbnails")


def to_page_bounds(request: Any, memory: Memory | None = None) -> tuple[str, int]:
    """Read the last id or name of the previous page, and the page size.

    Raises BadField if the size is not allowed, or the token is of another request or ``memory``.
    """
    size, most = SIZES[request.DESCRIPTOR.name]
    if not 0 <= request.page_size <= most:
        raise BadField("page_size", f"must be 0 to {most}, but is {request.page_size}")
    return to_token(request, memory), request.page_size or size


def to_token(request: Any, memory: Memory | None = None) -> str:
    """Read the last id or name of the previous page, empty for the first.

    Raises BadField if the token is not from this call, or is of another filter or ``memory``.
    """
    if not request.page_token:
        return ""
    try:
        token = base64.urlsafe_b64decode(request.page_token.encode())
        with_checksum, last = token.decode().split("\0", 1)
    except ValueError:
        raise BadField("page_token", "must be one that this call answered with") from None
    if with_checksum != seal(request, memory):
        raise BadField(
            "page_token",
            "belongs to another filter, memory or call, or its memory was dropped and made anew; "
            "begin again without one",
        )
    return last


def from_token(last: str, request: Any, memory: Memory | None = None) -> str:
    """Return a token for the page after ``last``; the token is empty if ``last`` is."""
    if not last:
        return ""
    return base64.urlsafe_b64encode(f"{seal(request, memory)}\0{last}".encode()).decode()


def seal(request: Any, memory: Memory | None) -> str:
    """Return a hash of the kind of request, the memory and the fields that select listed items."""
    choice = [(each.name, value) for each, value in request.ListFields() if each.name not in FREE]
    file = memory and memory.path.name  # a memory that is restored has the uid of the former one
    return hashlib.sha256(repr((request.DESCRIPTOR.name, file, choice)).encode()).hexdigest()[:16]
