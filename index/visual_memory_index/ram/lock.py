"""Many readers or one writer, the writer first unless it lets readers in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadWriteLock:
    """A lock for many readers or one writer; while a writer waits, new readers wait, too."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = self._readers_waiting = self._entered = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock, as other readers may; a thread that holds it may not enter again."""
        with self._changed:
            self._readers_waiting += 1
            try:
                self._changed.wait_for(lambda: not self._writing and not self._writers_waiting)
                self._readers += 1
            finally:  # also if memory ran out
                self._readers_waiting -= 1
                self._entered += 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def reading_if_free(self) -> Iterator[bool]:
        """Hold the lock as ``reading`` does, and yield True; yield False if it would wait."""
        with self._changed:
            free = not self._writing and not self._writers_waiting
            self._readers += free
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._readers -= 1
                    self._changed.notify_all()

    def let_in(self) -> None:
        """Wait until all readers that are waiting now hold the lock, or held it."""
        with self._changed:
            entered = self._entered + self._readers_waiting
            self._changed.wait_for(lambda: self._entered >= entered)

    @contextmanager
    def writing(self, seconds: float | None = None) -> Iterator[bool]:
        """Hold the lock alone and yield True; yield False if it is not free within ``seconds``."""
        with self._changed:
            free = False
            self._writers_waiting += 1
            try:
                free = self._changed.wait_for(
                    lambda: not self._writing and not self._readers, seconds
                )
            finally:
                self._writers_waiting -= 1
                if free:
                    self._writing = True
                else:
                    self._changed.notify_all()
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()
