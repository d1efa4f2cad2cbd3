"""Threads for long work, in which that of each memory begins in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable

from visual_memory_index import running_threads

Work = Callable[[], None]


class FairThreads:
    """Runs work in ``count`` threads; among what waits, the next of each group begins in turn."""

    def __init__(self, count: int, name: str) -> None:
        self._threads = running_threads(count, name)
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[str, Work]] = {}  # by group, the next one's first; by name

    def submit(self, group: str, name: str, work: Work) -> None:
        """Run ``work``, of this ``name`` within its group, as soon as a thread is free."""
        with self._lock:
            self._waiting.setdefault(group, {})[name] = work
            self._threads.submit(self._run_next)

    def withdraw(self, group: str, name: str) -> bool:
        """Return True if the work had not begun, and now will not."""
        with self._lock:
            return self._waiting.get(group, {}).pop(name, None) is not None

    def count(self, group: str) -> int:
        """Return how many of a group wait."""
        with self._lock:
            return len(self._waiting.get(group, ()))

    def shutdown(self) -> None:
        """Wait until all work has ended, and take no more."""
        self._threads.shutdown()

    def _run_next(self) -> None:
        if (work := self._next()) is not None:
            work()

    def _next(self) -> Work | None:
        with self._lock:
            while self._waiting:
                group = next(iter(self._waiting))
                works = self._waiting.pop(group)
                if not works:
                    continue
                work = works.pop(next(iter(works)))
                if works:
                    self._waiting[group] = works
                return work
        return None
