"""The fields of oneofs, for messages."""

from __future__ import annotations

from google.protobuf.message import Message


def choices(request: type[Message], oneof: str) -> str:
    """List the fields of a oneof: ``a, b or c``."""
    *others, last = [field.name for field in request.DESCRIPTOR.oneofs_by_name[oneof].fields]
    return f"{', '.join(others)} or {last}"
