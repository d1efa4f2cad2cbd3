"""It is known whether BLAS may hold vectors, since all are multiplied in one place."""

from __future__ import annotations

import os
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

import visual_memory_embedders
import visual_memory_index
import visual_memory_service
from visual_memory_index.rows import multiply as products
from visual_memory_index.rows.multiply import (
    AT_ONCE,
    Buffers,
    buffers,
    multiply,
    positive_inverse,
)
from visual_memory_index.scan import indexes
from visual_memory_index.scan.indexes import ScannedIndexes

PACKAGES = [
    Path(str(each.__file__)).parent
    for each in (visual_memory_index, visual_memory_service, visual_memory_embedders)
]
BY_BLAS = re.compile(
    r"[\w)\]] @ |@=|\.dot\("
    r"|np\.(matmul|dot|vdot|inner|tensordot|linalg\.(multi_dot|inv|cholesky|solve))\b"
)
ALLOWED = {
    "visual_memory_index/rows/multiply.py",
    "visual_memory_service/rerankers/crops.py",  # in a process of its own
}


def test_products_and_inverses_are_numpys() -> None:
    rows, out = np.random.default_rng(0).normal(size=(5, 3)), np.empty((5, 5))

    assert multiply(rows, rows.T, out=out) is out
    assert out.tolist() == (rows @ rows.T).tolist()
    assert positive_inverse(2 * np.eye(3)).tolist() == (np.eye(3) / 2).tolist()
    with pytest.raises(np.linalg.LinAlgError):
        positive_inverse(-np.eye(3))


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


def test_no_product_is_made_while_buffers_are_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    going_on, seen, lock = set[int](), list[int](), threading.Lock()

    def slow(*matrices: Any, **given: Any) -> None:
        with lock:
            going_on.add(threading.get_ident())
        time.sleep(0.005)
        with lock:
            going_on.remove(threading.get_ident())

    def alone(start: int, size: int) -> None:
        seen.append(len(going_on))
        time.sleep(0.001)

    monkeypatch.setattr(np, "matmul", slow)
    monkeypatch.setattr(products, "forget", alone)
    with ThreadPoolExecutor(10) as threads:
        made = [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(200)]
        made += [threads.submit(buffers().clear) for _ in range(2)]
        made += [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(200)]
        for each in made:
            each.result()

    assert seen == [0] * 2 * AT_ONCE


def test_what_was_not_cleared_for_lack_of_memory_is_cleared_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cleared = list[int]()

    def fail(start: int, size: int) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(products, "forget", fail)
        with pytest.raises(MemoryError):
            buffers().clear()
    monkeypatch.setattr(products, "forget", lambda start, size: cleared.append(start))
    buffers().clear()

    assert len(set(cleared)) == AT_ONCE


def test_without_the_size_of_a_buffer_none_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers()
    monkeypatch.setattr(products, "PAGES", tmp_path / "nothing")
    unknown = Buffers()
    monkeypatch.setattr(products, "forget", pytest.fail)
    unknown.clear()
    monkeypatch.setattr(indexes, "buffers", lambda: unknown)

    assert not unknown.clearable
    assert ScannedIndexes(1).unsearchable == ("NumPy's BLAS",)


# 16 threads multiply at the same time when the system gives no more RAM.
PROGRAM = """
import resource, threading
import numpy as np
from visual_memory_index.rows.multiply import buffers

buffers()
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


# A product that fills a buffer to its end, as those of many rows do on most processors.
LARGE = """
import ctypes
import numpy as np
from visual_memory_index.rows.multiply import buffers, multiply

blas = buffers()
left = np.full((24_000, 800), 3.1415927e-3)
multiply(left, left[:1000].T)
for clear in (lambda: None, blas.clear):
    clear()
    with blas._held() as held:
        used = (ctypes.string_at(buffer, 32 << 20) for buffer in held)
        print(sum(len(each) - each.count(0) for each in used))
"""


@pytest.mark.parametrize("kernel", ["", "Haswell", "Sandybridge", "Nehalem"])
@pytest.mark.skipif(sys.platform != "linux", reason="buffers are cleared on Linux")
def test_buffers_are_cleared_to_their_end(kernel: str) -> None:
    environment = {**os.environ, **({"OPENBLAS_CORETYPE": kernel} if kernel else {})}

    done = subprocess.run(
        [sys.executable, "-c", LARGE], env=environment, capture_output=True, text=True, check=True
    )
    used, left = map(int, done.stdout.split())

    assert used > 10_000_000
    assert left == 0


def test_nothing_else_multiplies() -> None:
    multiplying = {
        f"{package.name}/{path.relative_to(package)}"
        for package in PACKAGES
        for path in package.rglob("*.py")
        if any(BY_BLAS.search(line) for line in path.read_text().splitlines() if "``" not in line)
    }

    assert multiplying == ALLOWED
