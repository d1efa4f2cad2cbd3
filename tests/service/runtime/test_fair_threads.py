"""Threads for long work run before there is work."""

from __future__ import annotations

import threading

from visual_memory_service.runtime.fair_threads import FairThreads


def test_all_threads_run_from_the_start() -> None:
    before = threading.active_count()
    threads = FairThreads(3, "work")

    assert threading.active_count() == before + 3
    threads.shutdown()
