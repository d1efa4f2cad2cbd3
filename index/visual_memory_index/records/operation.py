"""Operations: work on one memory that takes long or can be undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # done and total; raises to end the work
State: TypeAlias = Literal["running", "done", "failed", "cancelled"]
UNLEARN = "unlearn"
REEMBED = "reembed"
RESUMED = (UNLEARN, REEMBED)  # these go on when the memory is opened again
UNDOABLE = ("prune", "relabel", "tune")
GONE = (
    "What it answered had the id of an entry in it that was unlearned, or a label that no entry "
    "has any more, and is gone."
)
GOES_ON = "What is to be erased is noted: it goes on when the server is started again."
CUT_SHORT = "The server stopped while it ran, and nothing was changed; start it again."


@dataclass(frozen=True, slots=True)
class Operation:
    """Work on one memory that takes long or can be undone, begun by its ``principal``.

    ``result`` is JSON, ``problem`` a sentence, times are microseconds since 1970.
    """

    name: str
    kind: str
    principal: str
    state: State
    result: str | None
    problem: str | None
    created_at: int
    ended_at: int | None
    undone_at: int | None


def unreported(done: int, total: int) -> None:
    """Do nothing: a ``Progress`` for callers that do not want reports."""
