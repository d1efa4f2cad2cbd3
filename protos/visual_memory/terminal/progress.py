"""Progress of long work, on standard error."""

from __future__ import annotations

import os
import sys
import time
from typing import Self

from visual_memory.terminal.output import ERASE_LINE, printable, shorten

BAR_MIN, BAR_MAX = 10, 40  # columns
TERMINAL_SECONDS = 0.2
LOG_SECONDS = 5.0


class Progress:
    """A progress line on a terminal: ``512/828 pictures, 143/s, 2 s left [######....]``.

    It takes one line of the terminal, and has a bar where there is room. ``what`` names the items,
    ``total`` is their number. Without ``estimate``, as for steps that take unequal times, only the
    count is shown. If the output is no terminal, a line is printed every 5 seconds, or ``every`` if
    given, and none for shorter work. The rate counts from the first report on, since resumed work
    starts with much done. ``done`` is the count of the last report.
    """

    def __init__(
        self, what: str, total: int = 0, *, every: float | None = None, estimate: bool = True
    ) -> None:
        self._what, self._total, self.done, self._estimate = what, total, 0, estimate
        self._first: tuple[int, float] | None = None
        self._terminal = sys.stderr.isatty()
        default = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        self._every = default if every is None else every
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            print(ERASE_LINE, end="", file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Return the seconds since this progress was created."""
        return time.monotonic() - self._began

    def add(self, count: int) -> None:
        """Report that ``count`` more items are done."""
        self.reach(self.done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        """Report that ``done`` items are done in all; ``total``, if given, is the new total."""
        self.done, self._total = done, self._total if total is None else total
        self._first = self._first or (done, time.monotonic())
        self.say(self.line())

    def say(self, line: str) -> None:
        """Print ``line``, unless the last line was printed too short a time ago."""
        now = time.monotonic()
        if now - self._shown < self._every:
            return
        self._shown = now
        shown = printable(line)
        if self._terminal:
            print(f"{ERASE_LINE}{self._fitted(shown)}", end="", file=sys.stderr, flush=True)
        else:
            print(shown, file=sys.stderr, flush=True)

    def _fitted(self, line: str) -> str:
        """Add the bar to a line, or cut the line, so that it does not wrap; or return it whole.

        It is whole where the terminal does not say how wide it is.
        """
        from wcwidth import width

        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:  # a terminal of a program, such as an editor's
            return line
        if not columns:
            return line
        room = min(columns - width(line) - 4, BAR_MAX)  # a blank, brackets, and the cursor
        if room < BAR_MIN or not self._total:
            return shorten(line, columns - 1)
        filled = min(room, room * self.done // self._total)
        return f"{line} [{'#' * filled}{'.' * (room - filled)}]"

    def line(self) -> str:
        """Format the count and, once they can be estimated, the rate and the time left."""
        shown = f"{self.done:,}/{self._total:,} {self._what}"
        before, since = self._first or (self.done, self._began)
        if self.done == before or not self._estimate:
            return shown
        rate = (self.done - before) / max(time.monotonic() - since, 1e-9)
        left = round(max(self._total - self.done, 0) / rate)
        return f"{shown}, {rate:,.0f}/s, {f'{left} s' if left < 120 else f'{left // 60} min'} left"
