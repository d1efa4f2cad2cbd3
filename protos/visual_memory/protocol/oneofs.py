"""Oneofs of requests, in words."""

from __future__ import annotations

from google.protobuf.message import Message


def choices(request: type[Message], oneof: str) -> str:
    """What a request may hold in a oneof, as a sentence lists it."""
    *others, last = [field.name for field in request.DESCRIPTOR.oneofs_by_name[oneof].fields]
    return f"{', '.join(others)} or {last}"
