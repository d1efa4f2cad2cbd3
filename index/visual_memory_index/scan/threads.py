"""Threads that scans share, some of which work in the background, beside queries."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Executor, ThreadPoolExecutor

BACKGROUND_NICENESS = 10  # of Linux: about a tenth of the processor beside a thread that wants all


class ScanThreads:
    """``count`` threads that scan for queries, and as many of lower priority for the background.

    Each thread scans a part of the rows by itself.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.queries: Executor = ThreadPoolExecutor(count, "scan")
        self.background: Executor = ThreadPoolExecutor(
            count, "background-scan", lower_thread_priority
        )


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread; only Linux has priorities of threads."""
    if sys.platform == "linux":
        thread = os.PRIO_PROCESS, threading.get_native_id()
        os.setpriority(*thread, max(BACKGROUND_NICENESS, os.getpriority(*thread)))
