"""Groups of entries, such as the pictures of one scene, that tell too much of each other."""

from __future__ import annotations

from collections.abc import Container

import visual_memory_index as index
from visual_memory_index.errors import TooFewItems
from visual_memory_index.votes.confidence import ITEMS_MIN
from visual_memory_service.errors import BadField


def check_key(key: str, memory: index.Memory) -> None:
    """Raise BadField if ``key`` is not empty, and no voting entry has it in its metadata.

    This is not left to the operation, which would keep the key in its file as a problem.
    """
    if key and not memory.has_metadata(key):
        bare = key.removeprefix("metadata.")
        way_out = "" if bare == key else f"; give the bare key, such as {bare[:80]!r}"
        raise BadField(
            "group_by",
            f"must be a metadata key that some voting entry has, but is {key[:80]!r}{way_out}",
        )


def check_labels(count: int) -> None:
    """Raise TooFewItems if fewer than two labels have entries that ask each other."""
    if count < 2:
        raise TooFewItems("labels with two entries or groups", got=count, needed=2)


def check_groups(count: int) -> None:
    """Raise TooFewItems if a memory is to be calibrated by too few groups of entries."""
    if count < ITEMS_MIN:
        raise TooFewItems(
            "groups whose labels other groups have, too,", got=count, needed=ITEMS_MIN
        )


def entries_by(key: str, memory: index.Memory) -> tuple[index.RamCopy, dict[str, str] | None]:
    """Return a copy of the voting entries, with their groups by id, both of one moment.

    The group of an entry is its value of the metadata ``key``. An empty key makes no groups: None.
    Raises TooLittleRam.
    """
    return memory.snapshot_with(key) if key else (memory.snapshot(), None)


def ungrouped_count(snapshot: index.RamCopy, group_of: Container[str] | None) -> int | None:
    """Return how many voting entries are in no group of ``entries_by``; None if it made none."""
    if group_of is None:
        return None
    return sum(id not in group_of for id in snapshot.columns()[0])
