"""Threads for what an interrupt would leave half done: Ctrl-C strikes in the main thread alone."""

from __future__ import annotations

import _thread
import queue
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

Job: TypeAlias = Callable[[], object]
FREE_MAX = 16  # threads that wait for jobs


class Crew:
    """Does jobs in threads of its own, as many at a time as are handed over.

    Handing over is one call of C, so an interrupt comes before or after it. Hence one thread more
    than there are jobs waits for the next: who takes a job begins a thread where none is left, and
    who hands it over begins none. A job raises nothing.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._free = 1
        self._owner: weakref.ref[object] | None = None
        self.hand = self._jobs.put

    def begin(self, owner: object, end: Job) -> None:
        """Work from now on; where nobody has ``owner`` any more, the job ``end`` is the last."""
        self._owner = self.watch(owner, end)
        _thread.start_new_thread(self._work, ())  # Thread.start takes locks, and may keep them

    def watch(self, owner: object, job: Job) -> weakref.ref[object]:
        """While it is kept, the reference hands the job over when nobody has ``owner`` any more."""
        return weakref.ref(owner, partial(self.hand, job))  # itself it becomes put's ``block``

    def end(self) -> None:
        """End the threads, each when its job is done; to be called by a job."""
        self._owner = None
        self.hand(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._leave_one_free()
            job()
            del job  # before waiting, as it may hold a large message
            with self._counting:
                if self._free == FREE_MAX:
                    return
                self._free += 1
        self.hand(None)  # for the next thread

    def _leave_one_free(self) -> None:
        with self._counting:
            self._free -= 1
            if self._free:
                return
            self._free = 1
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError:  # no more threads are to be had: the next job waits for one of these
            with self._counting:
                self._free -= 1
