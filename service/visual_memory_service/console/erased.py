"""The sentences on an erasure: what was found of it, and where it stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from visual_memory.terminal.output import plural, printable
from visual_memory.terminal.refused import listed

if TYPE_CHECKING:
    from visual_memory.proofs.certificate import Statement

NOT_IN_RAM = "; RAM is not vouched for, and the certificate says why"


def outcome(statement: Statement) -> str:
    """Findings and their places, as a sentence goes on with them."""
    places = [f"{place.where} ({place.bytes:,} bytes)" for place in statement.searched]
    if not places:
        return "nothing was looked for, and the certificate says why"
    return f"nothing was found in {', '.join(places)}{but(statement)}{doubt(statement)}"


def doubt(statement: Statement) -> str:
    """A clause for where only files were found clean."""
    return NOT_IN_RAM if len(statement.searched) == 1 else ""


def but(statement: Statement) -> str:
    """A clause on content that other memories hold, too, if any do."""
    if not statement.also_in:
        return ""
    return f" but what was also in {holders(statement.memory, statement.also_in)}"


def holders(memory: str, also_in: Sequence[str]) -> str:
    """The memories that hold the same as what is erased from ``memory``."""
    others = [name for name in also_in if name != memory]
    own = [f"other entries of {memory}"] if memory in also_in else []
    return listed([*others, *own])


def staying(
    memory: str,
    also_in: Sequence[str],
    backups: Sequence[datetime],
    not_asked: Sequence[str],
) -> Iterator[str]:
    """A sentence each on the memories and the backups that an unlearning does not reach into."""
    if also_in:
        yield f"The same is also in {holders(memory, also_in)}, where it stays: unlearn it there."
    if not_asked:
        yield f"Memories that could not be asked may hold the same: {listed(not_asked)}."
    if backups:
        last = f"the last of {printable(max(backups))} UTC"
        yield f"{plural(len(backups), 'backup')} of {memory} may hold it, {last}."
