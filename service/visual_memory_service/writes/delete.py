"""The way out: entries leave by id or by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visual_memory_index import Filter, Request
from visual_memory_service.runtime.memories import OpenMemory


@dataclass(frozen=True, slots=True)
class Deletion:
    """Which entries to forget, by id."""

    ids: Sequence[str]
    allow_missing: bool
    request: Request | None


@dataclass(frozen=True, slots=True)
class Purge:
    """Which entries to forget, by filter, and whether to do it."""

    filter: Filter
    apply: bool
    request: Request | None


def delete(deletion: Deletion, memory: OpenMemory) -> list[str]:
    """Forget entries by id; those that were there."""
    return memory.memory.delete(
        deletion.ids, allow_missing=deletion.allow_missing, request=deletion.request
    )


def purge(purge: Purge, memory: OpenMemory) -> list[str]:
    """Forget what a filter admits, or only say what that would be; the ids, ascending."""
    if not purge.apply:
        return memory.memory.would_purge(purge.filter)
    return memory.memory.purge(purge.filter, request=purge.request)
