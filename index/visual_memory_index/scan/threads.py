"""Threads that scans share."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

from visual_memory_index.scan.priority import lower_thread_priority


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
