"""Where the file of a memory stands, and whether that follows what was noted of it before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from visual_memory_index.errors import MemoryRefusal, OlderCatalog, OlderMemory, OtherMemory
from visual_memory_index.ledger.audit import Head


class Standing(NamedTuple):
    """After ``size`` events of an audit log, the last of which has the hash ``last``, in hex.

    An event has the digest and the hash of the event before in it: where two logs have the same
    event in one place, the memories were equal then, and all before was.
    """

    size: int
    last: str

    @classmethod
    def of(cls, head: Head) -> Standing:
        """Where a log with this head stands."""
        return cls(head.size, head.last)


Told: TypeAlias = Callable[[Standing], None]


def unheard(standing: Standing) -> None:
    """Where nobody notes it."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What is known of a memory, by its ``uid``.

    It stood ``kept`` when the catalog noted that, for good. ``erasing`` is the operation whose
    entries were marked as unlearned last, until it is noted that they are deleted. ``latest`` and
    ``modified``, the time of the file beside its log, were written with each commit since, as far
    as the system kept that.
    """

    uid: str
    kept: Standing
    erasing: str | None = None
    latest: Standing | None = None
    modified: int | None = None

    @property
    def standings(self) -> list[Standing]:
        """Both, that of the longer log first: what is missing is counted by it."""
        return sorted((each for each in (self.kept, self.latest) if each), reverse=True)


@dataclass(frozen=True, slots=True)
class Found:
    """What a file says of itself; ``name`` and ``uid`` are empty where it holds nothing yet.

    ``hashes`` are those of events by number, ``unlearnings`` how many were done since what the
    catalog noted. ``knows_erasing`` says whether the operation that is ``Noted.erasing`` is in it.
    """

    name: str
    uid: str
    standing: Standing
    hashes: Mapping[int, str] = field(default_factory=dict)
    unlearnings: int = 0
    knows_erasing: bool = False

    def has_all_of(self, noted: Noted) -> bool:
        """Whether all is in it that the catalog noted, unlearnings among it."""
        return not self.lags(noted.kept) and (self.knows_erasing or not noted.erasing)

    def lags(self, noted: Standing) -> str | None:
        """In which way it does not follow what was noted; a gap in the log is not looked for."""
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
    """Why the file at ``path`` is not the memory ``name`` as it was last, or None where it is."""
    if found.name not in ("", name):
        return OtherMemory(str(path), name, f'the memory "{found.name}"')
    if noted is None:
        return None
    if found.uid not in ("", noted.uid):
        return OtherMemory(str(path), name, "another memory of that name")
    for each in noted.standings:
        if problem := found.lags(each):
            return OlderMemory(str(path), name, problem)
    if noted.erasing and not found.knows_erasing:
        return OlderMemory(str(path), name, f"it has not the operation {noted.erasing}")
    if found.unlearnings > bool(noted.erasing):
        return OlderCatalog(str(path), name)
    return None
