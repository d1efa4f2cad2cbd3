"""Deletion of entries, by id or by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visual_memory_index import Filter, Memory, Request


@dataclass(frozen=True, slots=True)
class Deletion:
    """Entries to delete, by id."""

    ids: Sequence[str]
    allow_missing: bool
    request: Request


@dataclass(frozen=True, slots=True)
class Purge:
    """Entries to delete, by filter; without ``apply`` they are only listed."""

    filter: Filter
    apply: bool
    request: Request


def delete(deletion: Deletion, memory: Memory) -> list[str]:
    """Delete entries by id; return the ids that were stored."""
    return memory.delete(
        deletion.ids, allow_missing=deletion.allow_missing, request=deletion.request
    )


def purge(purge: Purge, memory: Memory) -> list[str]:
    """Delete the entries that a filter admits, or only list them; return the ids, ascending."""
    if not purge.apply:
        return memory.would_purge(purge.filter)
    return memory.purge(purge.filter, request=purge.request)
