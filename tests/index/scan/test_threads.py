"""The priority of threads in the background."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
