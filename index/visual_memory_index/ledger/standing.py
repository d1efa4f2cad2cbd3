"""Detect a memory's file that is older than the notes on it, or of another memory.

The position of a memory in its audit log, its ``Standing``, is kept in three places:

==========================  =============================================  ==================
place                       written                                        read as
==========================  =============================================  ==================
``catalog.sqlite``          at start, stop, backup and unlearning, synced  ``Noted.kept``
position file, ``noted/``   after each commit, not synced                  ``Noted.latest``
the memory's own file       with each commit, synced                       ``Found.standing``
==========================  =============================================  ==================

The last must not lag behind the first two: ``refusal`` compares them. A refusal that a person may
overrule, with ``visual-memory accept``, is a ``Doubt``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from visual_memory_index.errors import MemoryRefusal, OlderCatalog, OlderMemory, OtherMemory
from visual_memory_index.ledger.audit import Head


class Standing(NamedTuple):
    """A position in an audit log: its ``size`` and the hash of its last event, ``last``, in hex.

    An event contains the digest and the hash of the event before it: if two logs have the same
    event at one position, the memories were equal then, and at all times before.
    """

    size: int
    last: str

    @classmethod
    def of(cls, head: Head) -> Standing:
        """Return the position of an audit log with this head."""
        return cls(head.size, head.last)


OnStanding: TypeAlias = Callable[[Standing], None]


@dataclass(frozen=True, slots=True)
class Noted:
    """The audit log positions and the unlearning that the catalog recorded of the memory ``uid``.

    ``kept`` is the position in the registry, ``latest`` the position in the position file (see
    ``Latest``), None if that is missing. ``unlearning`` names an operation that had not deleted its
    entries when ``kept`` was recorded. ``modified`` is the time at which the memory's file was
    modified, in nanoseconds since 1970, as recorded with ``latest``.
    """

    uid: str
    kept: Standing
    unlearning: str | None = None
    latest: Standing | None = None
    modified: int | None = None

    @property
    def standings(self) -> list[Standing]:
        """Return the positions ``kept`` and ``latest``, if known, the longer log first."""
        return sorted((each for each in (self.kept, self.latest) if each), reverse=True)


@dataclass(frozen=True, slots=True)
class Found:
    """The state that a memory's file declares; ``name`` and ``uid`` are empty if it has none yet.

    ``hashes`` has the hashes of the events at the recorded positions, by number. ``unlearnings``
    counts the unlearnings logged after ``Noted.kept``; ``knows_unlearning`` is True if the file has
    the operation ``Noted.unlearning``.
    """

    name: str
    uid: str
    standing: Standing
    hashes: Mapping[int, str] = field(default_factory=dict)
    unlearnings: int = 0
    knows_unlearning: bool = False

    def has_all_of(self, noted: Noted) -> bool:
        """Return True if the file has the position ``noted.kept`` and ``noted.unlearning``."""
        return not self.lags(noted.kept) and (self.knows_unlearning or not noted.unlearning)

    def lags(self, noted: Standing) -> str | None:
        """Say in what the file falls short of the ``noted`` position; return None if in nothing."""
        lost = noted.size - self.standing.size
        if lost > 0:
            return (
                f"its audit log has {self.standing.size} events, but {noted.size} were noted, so "
                f"{lost} acknowledged {'write is' if lost == 1 else 'writes are'} missing"
            )
        if self.hashes.get(noted.size - 1, noted.last) != noted.last:
            return f"event {noted.size - 1} of its audit log is another than was noted"
        return None


def refusal(path: Path, name: str, found: Found, noted: Noted | None) -> MemoryRefusal | None:
    """Return why the file at ``path`` is not the latest of the memory ``name``; None if it is."""
    if found.name not in ("", name):
        return OtherMemory(path, name, f'the memory "{found.name}"')
    if noted is None:
        return None
    if found.uid not in ("", noted.uid):
        return OtherMemory(path, name, "another memory of that name")
    for each in noted.standings:
        if problem := found.lags(each):
            return OlderMemory(path, name, problem)
    if noted.unlearning and not found.knows_unlearning:
        return OlderMemory(path, name, f"it has not the operation {noted.unlearning}")
    if found.unlearnings > bool(noted.unlearning):
        return OlderCatalog(path, name)
    return None
