"""Detect files of memories that are older than, or other than, those that the catalog has noted.

The position of a memory in its audit log, its ``Standing``, is kept in three places:

==========================  =============================================  ==================
place                       written                                        read as
==========================  =============================================  ==================
``catalog.sqlite``          at start, stop, backup and unlearning, synced  ``Noted.kept``
a small file in ``noted/``  after each commit, not synced                  ``Noted.latest``
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

    An event contains the digest and the hash of the event before: where two logs have the same
    event in one place, the memories were equal then, and at all times before.
    """

    size: int
    last: str

    @classmethod
    def of(cls, head: Head) -> Standing:
        """Return the position of a log with this head."""
        return cls(head.size, head.last)


OnStanding: TypeAlias = Callable[[Standing], None]


@dataclass(frozen=True, slots=True)
class Noted:
    """The notes on a memory, by its ``uid``: the catalog's and, as ``latest``, the small file's.

    ``unlearning`` is an operation that has still to erase, ``modified`` the time of the file.
    """

    uid: str
    kept: Standing
    unlearning: str | None = None
    latest: Standing | None = None
    modified: int | None = None

    @property
    def standings(self) -> list[Standing]:
        """Return both known positions, the longer log first, which missing events count from."""
        return sorted((each for each in (self.kept, self.latest) if each), reverse=True)


@dataclass(frozen=True, slots=True)
class Found:
    """The state declared by a memory's file; ``name`` and ``uid`` are empty if it has none yet.

    ``hashes`` has the events at the noted positions, by number, and ``unlearnings`` counts those
    since; ``knows_unlearning`` says that the file has the noted operation.
    """

    name: str
    uid: str
    standing: Standing
    hashes: Mapping[int, str] = field(default_factory=dict)
    unlearnings: int = 0
    knows_unlearning: bool = False

    def has_all_of(self, noted: Noted) -> bool:
        """Return True if the file holds everything that the catalog noted, unlearnings included."""
        return not self.lags(noted.kept) and (self.knows_unlearning or not noted.unlearning)

    def lags(self, noted: Standing) -> str | None:
        """Return how the file falls short of a noted position, or None; gaps are not looked for."""
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
    """Return why the file at ``path`` is not the latest of the memory ``name``, or None."""
    if found.name not in ("", name):
        return OtherMemory(str(path), name, f'the memory "{found.name}"')
    if noted is None:
        return None
    if found.uid not in ("", noted.uid):
        return OtherMemory(str(path), name, "another memory of that name")
    for each in noted.standings:
        if problem := found.lags(each):
            return OlderMemory(str(path), name, problem)
    if noted.unlearning and not found.knows_unlearning:
        return OlderMemory(str(path), name, f"it has not the operation {noted.unlearning}")
    if found.unlearnings > bool(noted.unlearning):
        return OlderCatalog(str(path), name)
    return None
