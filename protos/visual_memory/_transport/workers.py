"""Threads for work that Ctrl-C must not interrupt; it is raised in the main thread only."""

from __future__ import annotations

import _thread
import queue
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

Job: TypeAlias = Callable[[], object]
IDLE_MAX = 16  # threads


class WorkerThreads:
    """An unbounded pool of threads, one for each job under way, and at least one idle.

    ``submit`` is a single call of C, so an interrupt comes before or after it. It therefore starts
    no thread: a thread that takes a job starts the next idle one. Jobs must not raise.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._idle = 1
        self._owner: weakref.ref[object] | None = None
        self.submit = self._jobs.put

    def start(self, owner: object, end: Job) -> None:
        """Start the first thread; submit ``end`` when ``owner`` is garbage-collected."""
        self._owner = self.watch(owner, end)
        _thread.start_new_thread(self._work, ())  # Thread.start takes locks, and may keep them

    def watch(self, owner: object, job: Job) -> weakref.ref[object]:
        """Submit the job when ``owner`` is garbage-collected, if the returned reference is kept."""
        return weakref.ref(owner, partial(self.submit, job))  # the reference is put's ``block``

    def end(self) -> None:
        """End the threads, each after its job. Must be called by a job."""
        self._owner = None
        self.submit(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._keep_one_idle()
            job()
            del job  # before waiting, as it may hold a large message
            with self._counting:
                if self._idle == IDLE_MAX:
                    return
                self._idle += 1
        self.submit(None)  # for the next thread

    def _keep_one_idle(self) -> None:
        with self._counting:
            self._idle -= 1
            if self._idle:
                return
            self._idle = 1
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError:  # no more threads can be started: the next job waits for one of these
            with self._counting:
                self._idle -= 1
