"""How far long work has come, on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

TERMINAL_SECONDS = 0.2
LOG_SECONDS = 5.0


class Progress:
    """``512/828 questions, 143/s, 2 s left``: one line that moves in a terminal.

    Elsewhere there is a line ``every`` few seconds, and none for work that ends sooner.
    """

    def __init__(self, what: str, *, every: float | None = None) -> None:
        self._what = what
        self._terminal = sys.stderr.isatty()
        default = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        self._every = default if every is None else every
        self._began = self._shown = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def __call__(self, done: int, total: int) -> None:
        """So many are done; the first call says what was done before."""
        self._first = done if self._first is None else self._first
        new = done - self._first
        self.say(f"{done:,}/{total:,} {self._what}{self._pace(new, total - done)}")

    def say(self, line: str) -> None:
        """Anything else, if it is time for a line."""
        now = time.monotonic()
        if now - self._shown < self._every:
            return
        self._shown = now
        start, end = ("\r\033[K", "") if self._terminal else ("", "\n")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    def _pace(self, new: int, rest: int) -> str:
        if not new:
            return ""
        rate = new / max(time.monotonic() - self._began, 1e-9)
        left = round(max(rest, 0) / rate)
        return f", {rate:,.0f}/s, {f'{left} s' if left < 120 else f'{left // 60} min'} left"
