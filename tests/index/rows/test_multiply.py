"""It is known whether BLAS may hold vectors, since all are multiplied in one place."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import visual_memory_index
from visual_memory_index.rows.multiply import AT_ONCE, multiply, take_note

PACKAGE = Path(visual_memory_index.__file__).parent
BY_BLAS = re.compile(
    r"[\w)\]] @ |@=|\.dot\("
    r"|np\.(matmul|dot|vdot|inner|tensordot|linalg\.(multi_dot|inv|cholesky|solve))\b"
)
ALLOWED = {"rows/multiply.py", "scan/indexes.py"}  # the second overwrites what the first left


def test_the_widest_product_is_noted_until_the_note_is_taken() -> None:
    take_note()
    rows, out = np.eye(3), np.empty((3, 3))

    assert take_note() == 0
    assert multiply(rows, 2 * rows, out=out) is out
    multiply(np.ones((1, 2)), np.ones((2, 5)))
    assert out.tolist() == (2 * rows).tolist()
    assert take_note() == 3
    assert take_note() == 0


def test_a_product_is_noted_though_the_note_is_taken_while_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matmul = np.matmul

    def taken(*matrices: Any, **given: Any) -> Any:
        take_note()
        return matmul(*matrices, **given)

    monkeypatch.setattr(np, "matmul", taken)
    multiply(np.eye(3), np.eye(3))

    assert take_note() == 3


def test_no_more_products_are_made_at_the_same_time_than_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts, now, lock = list[int](), set[int](), threading.Lock()
    full = threading.Barrier(AT_ONCE, timeout=60)

    def counted(*matrices: Any, **given: Any) -> None:
        with lock:
            now.add(threading.get_ident())
            counts.append(len(now))
        full.wait()
        with lock:
            now.remove(threading.get_ident())

    monkeypatch.setattr(np, "matmul", counted)
    with ThreadPoolExecutor(2 * AT_ONCE) as threads:
        for _ in range(2 * AT_ONCE):
            threads.submit(multiply, np.eye(3), np.eye(3))

    assert len(counts) == 2 * AT_ONCE
    assert max(counts) == AT_ONCE


# 16 threads multiply at the same time when the system gives no more RAM.
PROGRAM = """
import resource, threading
import numpy as np
from visual_memory_index.rows.multiply import take_buffers

take_buffers(16)
many, together = np.zeros((4096, 768), np.float32), threading.Barrier(17)
few, out = many[:8].copy(), np.zeros((8, 4096), np.float32)

def multiply():
    together.wait()
    np.matmul(few, many.T, out=out)

threads = [threading.Thread(target=multiply) for _ in range(16)]
for thread in threads:
    thread.start()
with open("/proc/self/status") as status:
    size = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (size + (8 << 20), -1))
together.wait()
for thread in threads:
    thread.join()
print("multiplied")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_buffers_taken_before_do_for_products_when_ram_is_refused() -> None:
    for _ in range(3):
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
        )
        assert (ended.stdout, ended.stderr) == ("multiplied\n", "")


def test_nothing_else_multiplies() -> None:
    multiplying = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(BY_BLAS.search(line) for line in path.read_text().splitlines() if "``" not in line)
    }

    assert multiplying == ALLOWED
