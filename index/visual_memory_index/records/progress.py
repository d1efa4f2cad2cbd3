"""Progress reports of long work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # done and total; raises to end the work


def unreported(done: int, total: int) -> None:
    """Ignore progress."""
