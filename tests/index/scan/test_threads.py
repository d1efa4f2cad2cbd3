"""Threads that run before there is work, and their priority."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.threads import running_threads

PROGRAM = """
import contextlib, os, sys, threading
from visual_memory_index.scan.threads import lower_thread_priority

process = os.nice(int(sys.argv[1]))
with contextlib.suppress(OSError):
    os.setuid(65534)  # one who may not raise a priority
niceness = []
thread = threading.Thread(target=lambda: (lower_thread_priority(), niceness.append(os.nice(0))))
thread.start()
thread.join()
print(niceness == [max(10, process)], os.nice(0) == process)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
@pytest.mark.parametrize("lower", [0, 15])
def test_a_thread_gets_a_lower_priority_than_others_or_keeps_its_own(lower: int) -> None:
    program = [sys.executable, "-c", PROGRAM, str(lower)]

    done = subprocess.run(program, capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_all_threads_run_before_there_is_work() -> None:
    with running_threads(3, "early"):
        early = [each for each in threading.enumerate() if each.name.startswith("early_")]

    assert len(early) == 3


def test_where_the_system_refuses_a_thread_those_that_were_started_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, refused = threading.Thread.start, list[threading.Thread]()

    def start_first(thread: threading.Thread) -> None:
        if thread.name != "few_0":
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_first)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        running_threads(3, "few")

    assert len(refused) == 1
    for each in threading.enumerate():
        if each.name == "few_0":
            each.join(30)
            assert not each.is_alive()


def test_all_threads_of_indexes_run_before_there_is_work() -> None:
    before = set(threading.enumerate())
    indexes = ScannedIndexes(3)

    names = [each.name.rpartition("_")[0] for each in threading.enumerate() if each not in before]
    kinds = "scan", "background-scan", "load", "check-file"
    assert [names.count(kind) for kind in kinds] == [3, 3, 4, 4]
    del indexes
