"""It is known whether BLAS may hold vectors, since all are multiplied in one place."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import visual_memory_index
from visual_memory_index.rows import multiply as products
from visual_memory_index.rows.multiply import (
    AT_ONCE,
    multiply,
    overwrite_buffers,
    positive_inverse,
)

PACKAGE = Path(visual_memory_index.__file__).parent
BY_BLAS = re.compile(
    r"[\w)\]] @ |@=|\.dot\("
    r"|np\.(matmul|dot|vdot|inner|tensordot|linalg\.(multi_dot|inv|cholesky|solve))\b"
)
ALLOWED = {"rows/multiply.py"}


@pytest.fixture
def overwritten(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The widths for which buffers are overwritten from now on."""
    overwrite_buffers()
    widths = list[int]()
    monkeypatch.setattr(products, "_multiply_zeros", widths.append)
    return widths


def multiply_together(count: int) -> None:
    """Have ``count`` threads multiply at the same time."""
    together = threading.Barrier(count, timeout=60)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(count) as threads:
        patch.setattr(np, "matmul", lambda *_, **__: together.wait())
        for _ in range(count):
            threads.submit(multiply, np.eye(3), np.eye(3))


def test_as_many_buffers_are_overwritten_as_products_were_made_at_a_time(
    overwritten: list[int],
) -> None:
    rows, out = np.eye(3), np.empty((3, 3))

    overwrite_buffers()
    assert overwritten == []
    assert multiply(rows, 2 * rows, out=out) is out
    assert out.tolist() == (2 * rows).tolist()
    multiply(np.ones((1, 2)), np.ones((2, 5)))
    overwrite_buffers()
    assert overwritten == [3]
    multiply_together(4)
    positive_inverse(np.eye(6))
    overwrite_buffers()
    assert overwritten == [3, 6, 6, 6, 6]
    overwrite_buffers()
    assert len(overwritten) == 5


def test_what_could_not_be_overwritten_is_overwritten_the_next_time(
    overwritten: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(width: int) -> None:
        raise MemoryError

    multiply_together(2)
    with monkeypatch.context() as patched:
        patched.setattr(products, "_multiply_zeros", fail)
        with pytest.raises(MemoryError):
            overwrite_buffers()
    overwrite_buffers()

    assert overwritten == [3, 3]


def test_a_product_that_failed_is_counted_no_longer() -> None:
    for _ in range(2 * AT_ONCE):
        with pytest.raises(ValueError, match="mismatch"):
            multiply(np.eye(3), np.eye(4))


def test_no_more_products_are_made_at_a_time_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    going_on, counts = set[int](), list[int]()
    full = threading.Barrier(AT_ONCE, timeout=60)

    def counted(*matrices: Any, **given: Any) -> None:
        going_on.add(threading.get_ident())
        full.wait()
        counts.append(len(going_on))
        full.wait()
        going_on.remove(threading.get_ident())

    monkeypatch.setattr(np, "matmul", counted)
    with ThreadPoolExecutor(3 * AT_ONCE) as threads:
        made = [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(3 * AT_ONCE)]
        for each in made:
            each.result()

    assert counts == [AT_ONCE] * 3 * AT_ONCE


def test_no_product_is_made_while_buffers_are_overwritten(
    overwritten: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, lock = set[int](), threading.Lock()

    def slow(*matrices: Any, **given: Any) -> None:
        with lock:
            going_on.add(threading.get_ident())
        time.sleep(0.005)
        with lock:
            going_on.remove(threading.get_ident())

    def alone(width: int) -> None:
        overwritten.append(len(going_on))
        time.sleep(0.005)
        overwritten.append(len(going_on))

    monkeypatch.setattr(np, "matmul", slow)
    monkeypatch.setattr(products, "_multiply_zeros", alone)
    with ThreadPoolExecutor(10) as threads:
        made = [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(200)]
        made += [threads.submit(overwrite_buffers) for _ in range(2)]
        made += [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(200)]
        overwrite_buffers()
        for each in made:
            each.result()

    assert len(overwritten) >= 2
    assert set(overwritten) == {0}


# 16 threads multiply at the same time when the system gives no more RAM.
PROGRAM = """
import resource, threading
import numpy as np
from visual_memory_index.rows.multiply import reserve_buffers

reserve_buffers()
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
