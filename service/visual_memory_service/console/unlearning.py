"""Sentences on an unlearning: what was searched, and where the same content remains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from visual_memory.terminal.output import plural, printable
from visual_memory.terminal.refused import listed

if TYPE_CHECKING:
    from visual_memory.proofs.certificate import Statement

RAM_NOT_SEARCHED = "RAM is not vouched for, and the certificate says why"
RAM_HOLDS = "the server's RAM still holds traces, until the server ends"


def outcome(statement: Statement) -> str:
    """Return a clause on the places searched and what was found there."""
    places = [f"{place.where} ({place.bytes:,} bytes)" for place in statement.searched]
    if not places:
        return "nothing was looked for, and the certificate says why"
    ram = f"; {clause}" if (clause := ram_clause(statement)) else ""
    return f"nothing was found in {', '.join(places)}{exception_clause(statement)}{ram}"


def ram_holds_traces(statement: Statement) -> bool:
    """Return True if RAM was searched until the server gave up, and something was still found."""
    return statement.erasure == "files+memory" and len(statement.searched) == 1


def ram_clause(statement: Statement) -> str:
    """Return a clause on what RAM may hold, or "" if it is clean, or nothing was searched."""
    if ram_holds_traces(statement):
        return RAM_HOLDS
    return RAM_NOT_SEARCHED if len(statement.searched) == 1 else ""


def exception_clause(statement: Statement) -> str:
    """Return a clause on the other memories that hold the same content, or "" if none does."""
    if not statement.also_in:
        return ""
    return f" but what was also in {holders(statement.memory, statement.also_in)}"


def holders(memory: str, also_in: Sequence[str]) -> str:
    """Return a phrase that lists the memories with the content that was unlearned from ``memory``.

    If ``memory`` itself is in ``also_in``, other entries of it have the same content.
    """
    others = [name for name in also_in if name != memory]
    own = [f"other entries of {memory}"] if memory in also_in else []
    return listed([*others, *own])


def remaining(
    memory: str, also_in: Sequence[str], backups: Sequence[datetime], not_asked: Sequence[str]
) -> Iterator[str]:
    """Yield sentences on memories and backups that keep the content despite the unlearning.

    The memories ``not_asked`` could not be read, and may hold it; ``backups`` are their times.
    """
    if also_in:
        yield f"The same is also in {holders(memory, also_in)}, where it stays: unlearn it there."
    if not_asked:
        yield f"Memories that could not be asked may hold the same: {listed(not_asked)}."
    if backups:
        last = f"the last of {printable(max(backups))} UTC"
        yield f"{plural(len(backups), 'backup')} of {memory} may hold it, {last}."
