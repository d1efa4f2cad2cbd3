"""The priority of threads in the background."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, threading
from visual_memory_index.scan.threads import lower_thread_priority

os.nice(int(sys.argv[1]))
if os.getuid() == 0:
    os.setuid(65534)  # one who may not raise a priority
thread = threading.Thread(target=lambda: (lower_thread_priority(), print(os.nice(0))))
thread.start()
thread.join()
print(os.nice(0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
@pytest.mark.parametrize(("process", "expected"), [(0, 10), (15, 15)])
def test_a_thread_gets_a_lower_priority_than_others_or_keeps_its_own(
    process: int, expected: int
) -> None:
    program = [sys.executable, "-c", PROGRAM, str(process)]

    done = subprocess.run(program, capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == (f"{expected}\n{process}\n", "")
