"""Products leave nothing in BLAS's buffers nor on the stack, whatever memory they get."""

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
    Buffers,
    buffers,
    multiply,
    positive_inverse,
)
from visual_memory_index.rows.scratch import BUFFERS, LACKING, REFUSED
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
    for _ in range(2 * BUFFERS):
        with pytest.raises(ValueError, match="mismatch"):
            multiply(np.eye(3), np.eye(4))


def test_no_more_products_are_made_at_a_time_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    going_on, counts = set[int](), list[int]()
    full = threading.Event()

    def counted(*matrices: Any, **given: Any) -> None:
        going_on.add(threading.get_ident())
        counts.append(len(going_on))
        if len(going_on) == BUFFERS:
            full.set()
        assert full.wait(60)
        time.sleep(0.01)
        going_on.remove(threading.get_ident())

    monkeypatch.setattr(np, "matmul", counted)
    with ThreadPoolExecutor(3 * BUFFERS) as threads:
        made = [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(6 * BUFFERS)]
        for each in made:
            each.result()

    assert max(counts) == BUFFERS


def test_no_product_is_made_while_buffers_are_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    going_on, seen, lock = set[int](), list[int](), threading.Lock()

    def slow(*matrices: Any, **given: Any) -> None:
        with lock:
            going_on.add(threading.get_ident())
        time.sleep(0.005)
        with lock:
            going_on.remove(threading.get_ident())

    def alone() -> int:
        seen.append(len(going_on))
        time.sleep(0.02)
        seen.append(len(going_on))
        return 0

    monkeypatch.setattr(np, "matmul", slow)
    monkeypatch.setattr(buffers(), "_clear", alone)
    with ThreadPoolExecutor(10) as threads:
        made = [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(200)]
        made += [threads.submit(buffers().clear) for _ in range(2)]
        made += [threads.submit(multiply, np.eye(3), np.eye(3)) for _ in range(200)]
        for each in made:
            each.result()

    assert seen == [0] * 2 * 2


# One allocation after the other fails in a product and in a clearing. Between them products and
# clearings have to end, and to leave nothing in the buffers.
SHORT = """
import _testcapi, ctypes, sys, threading
import numpy as np
from visual_memory_index.rows.multiply import buffers, multiply

blas = ctypes.CDLL(np.linalg._umath_linalg.__file__)
blas.blas_memory_alloc.restype = ctypes.c_void_p
blas.blas_memory_free.argtypes = (ctypes.c_void_p,)

def held():
    found = [blas.blas_memory_alloc(0) for _ in range(16)]
    for buffer in found:
        blas.blas_memory_free(buffer)
    return found

def used():
    parts = (ctypes.string_at(buffer, 32 << 20) for buffer in held()[:2])
    return sum(len(each) - each.count(0) for each in parts)

def ends(act):
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()

rows, out = np.full((300, 100), 3.1415927e-3), np.empty((300, 300))
make = lambda: multiply(rows, rows.T, out)
clear = buffers().clear
make(), clear()
before, refused = held(), 0
for act in (make, clear):
    for number in range(60):
        make()
        _testcapi.set_nomemory(number, number + 1)
        try:
            act()
        except (MemoryError, SystemError):  # by NumPy, without a reason
            refused += 1
        finally:
            _testcapi.remove_mem_hooks()
        if not ends(make) or not ends(clear):
            sys.exit(f"hung after {number}")
        if number % 10 == 9 and used():
            sys.exit(f"not cleared after {number}")
print(refused > 2, held() == before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="buffers are cleared on Linux")
def test_a_product_or_a_clearing_that_lacks_memory_holds_nothing_up() -> None:
    pytest.importorskip("_testcapi", reason="needs Python's own test library")
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True)

    assert (done.stdout, done.stderr, done.returncode) == ("True True\n", "", 0)


@pytest.mark.parametrize(("problem", "error"), [(LACKING, MemoryError), (REFUSED, OSError)])
def test_buffers_that_cannot_be_cleared_are_an_error(
    monkeypatch: pytest.MonkeyPatch, problem: int, error: type[Exception]
) -> None:
    monkeypatch.setattr(buffers(), "_clear", lambda: problem)

    with pytest.raises(error):
        buffers().clear()


def test_without_the_size_of_a_buffer_none_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers()
    monkeypatch.setattr(products, "PAGES", tmp_path / "nothing")
    unknown = Buffers()
    monkeypatch.setattr(unknown, "_clear", pytest.fail)
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


# Products that fill a buffer to its end, as those of many rows do on most processors.
LEFT = """
import ctypes, os
import numpy as np
from visual_memory_index.rows.multiply import buffers, multiply, positive_inverse

def count(value):
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as ram:
        for line in maps:
            place, mode, *_ = line.split()
            start, end = (int(each, 16) for each in place.split("-"))
            if mode.startswith("rw"):
                ram.seek(start)
                numbers = np.frombuffer(ram.read(end - start), value.dtype) == value
                found += int((numbers[1:] & numbers[:-1]).sum())
    return found

blas = buffers()
for kind in (np.float32, np.float64):
    value = kind(3.1415927e-3)
    rows, square = np.full((24_000, 800), value), np.empty((800, 800), kind)
    long, out = np.empty((24_000, 1000), kind), np.empty(24_000, kind)
    multiply(rows, rows[:1000].T, long)
    multiply(rows.T, rows, square)
    multiply(rows, rows[0], out)
    multiply(rows[:8], rows[:40].T, long[:8, :40])
    for each in (rows, long, square, out):
        each[:] = 0
    used = count(value)
    blas.clear()
    print(used > 1_000_000, count(value))
"""


@pytest.mark.parametrize("kernel", ["", "Haswell", "Sandybridge", "Nehalem"])
@pytest.mark.skipif(sys.platform != "linux", reason="buffers are cleared on Linux")
def test_nothing_is_left_of_products(kernel: str) -> None:
    environment = {**os.environ, **({"OPENBLAS_CORETYPE": kernel} if kernel else {})}

    done = subprocess.run(
        [sys.executable, "-c", LEFT], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "True 0\nTrue 0\n"


def test_nothing_else_multiplies() -> None:
    multiplying = {
        f"{package.name}/{path.relative_to(package)}"
        for package in PACKAGES
        for path in package.rglob("*.py")
        if any(BY_BLAS.search(line) for line in path.read_text().splitlines() if "``" not in line)
    }

    assert multiplying == ALLOWED
