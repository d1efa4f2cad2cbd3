"""Entries that a command is about to insert."""

from __future__ import annotations

from typing import Any

from visual_memory._messages.insertion import Insertion


def check_entries(fields: dict[str, Any]) -> None:
    """Check the arguments of ``Memory.insert`` as it does. Raises InvalidArgument."""
    Insertion("", **fields, request_id=None, replace_existing=False)
