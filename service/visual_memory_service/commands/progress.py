"""How far long work has come, on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType

TERMINAL_SECONDS = 0.2
LOG_SECONDS = 5.0


class Progress:
    """``512/828 pictures inserted, 143/s, 2 s left``: one line that moves in a terminal.

    Elsewhere there is a line every few seconds, and none for work that ends sooner.
    """

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what, self._done = total, what, 0
        self._terminal = sys.stderr.isatty()
        self._every = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def add(self, count: int) -> None:
        """So many more are done."""
        self.reach(self._done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        """So many are done, of ``total`` where that is known only now."""
        self._done, self._total = done, self._total if total is None else total
        if time.monotonic() - self._shown < self._every:
            return
        self._shown = time.monotonic()
        start, end = ("\r\033[K", "") if self._terminal else ("", "\n")
        print(f"{start}{self.line()}", end=end, file=sys.stderr, flush=True)

    def line(self) -> str:
        """Done, rate, and the time that the rest will take."""
        rate = self._done / max(self.seconds, 1e-9)
        left = round(max(self._total - self._done, 0) / max(rate, 1e-9))
        wait = f"{left} s" if left < 120 else f"{left // 60} min"
        return f"{self._done:,}/{self._total:,} {self._what}, {rate:,.0f}/s, {wait} left"
