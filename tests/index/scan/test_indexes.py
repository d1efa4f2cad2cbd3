"""Of vectors that were multiplied nothing is left in buffers once these were cleared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

# Eight threads multiply rows of 768 numbers, and buffers are cleared meanwhile; then again,
# when none multiplies. Waits after each for a line.
PROGRAM = """
import gc, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from visual_memory_index import ScannedIndexes
from visual_memory_index.rows.multiply import multiply

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
indexes = ScannedIndexes(2)
indexes.new(8)
together = threading.Barrier(8)
row = np.random.default_rng(5).standard_normal(768).astype(np.float32)

def work(_):
    rows = np.empty((2048, 768), np.float32)
    rows[:] = row
    few = rows[:64].copy()
    together.wait()
    for _ in range(5):
        multiply(few, rows.T)
        multiply(rows, rows.T)
        multiply(rows[:2].T, rows[:2])
        multiply(rows.T, rows)
    rows[:] = few[:] = 0

with ThreadPoolExecutor(9) as threads:
    working = threads.map(work, range(8))
    threads.submit(indexes.clear_scratch).result()
    list(working)
row[:] = 0
for step in (lambda: None, indexes.clear_scratch):
    step()
    gc.collect()
    input(print(flush=True))
"""


def numbers_in(process: int, wanted: NDArray[np.uint32]) -> int:
    """Count the 4 bytes anywhere in RAM of a process that are one of ``wanted``, ascending."""
    count = 0
    with (
        open(f"/proc/{process}/maps") as ranges,
        open(f"/proc/{process}/mem", "rb", buffering=0) as memory,
    ):
        for line in ranges:
            place, allowed = line.split()[:2]
            if "w" not in allowed or "[v" in line:
                continue
            start, end = (int(each, 16) for each in place.split("-"))
            for at in range(start, end, 1 << 22):
                try:
                    memory.seek(at)
                    words = np.frombuffer(memory.read(min(1 << 22, end - at)), np.uint32)
                except OSError:  # not there any more
                    continue
                places = np.searchsorted(wanted, words) % len(wanted)
                count += int((wanted[places] == words).sum())
    return count


@pytest.mark.parametrize("processors", [1, 2])
@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc/self/mem: not Linux")
def test_nothing_is_left_of_products(processors: int) -> None:
    values = np.random.default_rng(5).standard_normal(768).astype(np.float32)
    wanted, counts = np.sort(values.view(np.uint32)), list[int]()
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(processors)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        for _ in range(2):
            child.stdout.readline()
            counts.append(numbers_in(child.pid, wanted))
            child.stdin.write("\n")
            child.stdin.flush()

    assert counts[0] > 10_000
    assert counts[1] < 50  # numbers that are equal by chance
