"""Background check of every memory after the start, in the time that other work leaves."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import structlog

from visual_memory_index import Checked
from visual_memory_index.errors import FileUnavailable, MemoryRefusal, in_full

WORK_SECONDS = 0.02
REST_SHARE = 4  # rest per time worked, so that checks take a fifth of one processor
TRY_AGAIN_SECONDS = 600.0  # after files that could not be read: a check reads the whole file
log = structlog.get_logger()

OnProgress: TypeAlias = Callable[[int, int], None]


class Interrupted(Exception):
    """Raised inside a check that is paused or closed; a paused check starts again later."""


class Checks:
    """Runs ``check`` on one memory after another, by name, in a thread of its own.

    A memory whose file cannot be opened or read is checked again later.
    """

    def __init__(self, check: Callable[[str, OnProgress], Checked]) -> None:
        self._check = check
        self._left: deque[str] = deque()
        self._again: list[str] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._checking = self._closed = False
        self._pauses = 0
        self._resumed = 0.0

    def start(self, names: Iterable[str]) -> None:
        """Start the thread that checks the memories of these names, in this order."""
        self._left.extend(names)
        thread = threading.Thread(target=self._run, name="check")
        thread.start()
        self._thread = thread

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause checks inside the block: no check reads a file, or keeps any of its content in RAM.

        A check under way starts again after the block.
        """
        with self._changed:
            self._pauses += 1
            self._changed.notify_all()
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._checking)
            yield
        finally:
            with self._changed:
                self._pauses -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Stop, and return once the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (name := self._next()) is not None:
            try:
                self._look_through(name)
            except Interrupted:
                self._left.append(name)
            except FileUnavailable as refusal:
                log.warning("memory not checked", memory=name, reason=in_full(refusal))
                self._again.append(name)
            except MemoryRefusal:  # logged if damaged, else the memory was dropped
                pass
            except Exception as error:  # nobody waits for this thread
                log.error("check failed", memory=name, exc_info=error)
            finally:
                with self._changed:
                    self._checking = False
                    self._changed.notify_all()

    def _look_through(self, name: str) -> None:
        began = self._resumed = time.perf_counter()
        checked = self._check(name, self._rest)
        seconds = round(time.perf_counter() - began, 1)
        entries, events = checked.entry_count, checked.event_count
        log.info("memory checked", memory=name, entries=entries, events=events, seconds=seconds)

    def _next(self) -> str | None:
        """Return the next name while checks are not paused, or None if none is left or once closed.

        Names to be checked again come after all others, some minutes later.
        """
        with self._changed:
            if not self._left and self._again:
                self._changed.wait_for(lambda: self._closed, TRY_AGAIN_SECONDS)
                self._left.extend(self._again)
                self._again.clear()
            self._changed.wait_for(lambda: self._closed or not self._pauses)
            self._checking = not self._closed and bool(self._left)
            return self._left.popleft() if self._checking else None

    def _rest(self, done: int, total: int) -> None:
        """Rest four times as long as the check worked since its last rest, after each step of it.

        Raises Interrupted if checks are paused or closed.
        """
        worked = time.perf_counter() - self._resumed
        rest = worked * REST_SHARE if worked >= WORK_SECONDS else 0.0
        with self._changed:
            if self._changed.wait_for(lambda: self._closed or self._pauses > 0, rest):
                raise Interrupted
        if rest:
            self._resumed = time.perf_counter()
