"""The size of messages, adapted to the speed of the server, so that each takes a short time."""

from __future__ import annotations

FIRST_ITEMS = 4
SECONDS = 1.5  # of work in a message
GROWTH = 4


class Pace:
    """The number of items for the next message, chosen by how long the last messages took.

    The number starts at 4, falls at once if the work on a message took longer than 1.5 s or an
    eighth of ``timeout``, and rises to at most four times the last message. The time that messages
    take whatever their size, up to a quarter of the timeout, is latency and not counted as work:
    smaller messages would only wait more often.
    """

    def __init__(self, timeout: float = 60.0) -> None:
        self.items = FIRST_ITEMS
        self._seconds, self._waiting_max = min(SECONDS, timeout / 8), timeout / 4
        self._last = self._other = (0, 0.0)  # the other has half as many items, or twice

    def note(self, items: int, seconds: float) -> None:
        """Set the number of items for the next message after one of ``items`` took ``seconds``."""
        work = max(seconds - self._waiting(items, seconds), 1e-6)
        fitting = int(items * self._seconds / work)
        if work > self._seconds:
            self.items = max(1, fitting)
        else:
            self.items = max(self.items, min(fitting, GROWTH * items))

    def _waiting(self, items: int, seconds: float) -> float:
        """Record a message and estimate its latency: the seconds of a message without items.

        The estimate is the intercept of the line through the last two messages whose numbers of
        items ``differ``, or 0.0 if there are no two.
        """
        if differ(self._last[0], items):
            self._other = self._last
        self._last = (items, seconds)
        if not differ(self._other[0], items):
            return 0.0
        (few, quick), (many, slow) = sorted((self._other, self._last))
        return min(max((quick * many - slow * few) / (many - few), 0.0), seconds, self._waiting_max)


def differ(one: int, other: int) -> bool:
    """Return True if two positive numbers of items differ by a factor of two or more."""
    return min(one, other) > 0 and max(one, other) >= 2 * min(one, other)
