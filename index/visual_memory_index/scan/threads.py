"""Threads that the indexes of one process share, some of lower priority, beside queries."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

BACKGROUND_NICENESS = 10  # of Linux: about a tenth of the processor beside a thread that wants all
LOADING = CHECKING = 4


class IndexThreads:
    """``count`` threads that scan for queries, and as many of lower priority for the background.

    Each of these scans a part of the rows by itself. Threads for ``loading`` read files of memories
    that are opened, and others are ``checking`` these. One for queries calls ``prepare`` first, and
    ``prepared`` is done afterwards.
    """

    def __init__(self, count: int, prepare: Callable[[], object] = lambda: None) -> None:
        self.count = count
        self.queries: Executor = running_threads(count, "scan")
        self.prepared = self.queries.submit(prepare)
        self.background: Executor = running_threads(count, "background-scan", lower_thread_priority)
        self.loading: Executor = running_threads(LOADING, "load")
        self.checking: Executor = running_threads(CHECKING, "check-file")


def running_threads(
    count: int, name: str, initializer: Callable[[], object] | None = None
) -> ThreadPoolExecutor:
    """Return an executor of ``count`` threads, all of which run.

    Where the system later refused to start one, ThreadPoolExecutor would raise an error, and still
    do the work in another thread; and where memory ran out in a new thread, it would wait for that
    for ever, and with it all executors of the process. Raises RuntimeError if the system refuses a
    thread now.
    """
    executor = ThreadPoolExecutor(count, name, initializer)
    all_run = threading.Event()
    try:
        for _ in range(count):
            executor.submit(all_run.wait)
    finally:
        all_run.set()
    return executor


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread; only Linux has priorities of threads."""
    if sys.platform == "linux":
        thread = os.PRIO_PROCESS, threading.get_native_id()
        os.setpriority(*thread, max(BACKGROUND_NICENESS, os.getpriority(*thread)))
