"""Messages as large as the server is fast, so that none takes long, however slow that is."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeAlias

FIRST_ITEMS = 4
SECONDS = 1.5  # of work in a message
GROWTH = 4


class Pace:
    """How many items the next message should have, by how long the last ones took.

    It starts with 4. The number falls at once when a message took longer than 1.5 s, or an eighth
    of ``timeout``, and rises to at most four times what was measured.
    """

    def __init__(self, timeout: float = 60.0) -> None:
        self.items, self._seconds = FIRST_ITEMS, min(SECONDS, timeout / 8)

    def note(self, items: int, seconds: float) -> None:
        """That a message of so many items took so long."""
        fitting = int(items * self._seconds / max(seconds, 1e-6))
        if seconds > self._seconds:
            self.items = max(1, fitting)
        else:
            self.items = max(self.items, min(fitting, GROWTH * items))


Paces: TypeAlias = "defaultdict[tuple[str, str, str], Pace]"  # by memory, method and contents
