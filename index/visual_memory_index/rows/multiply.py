"""Products and inverses by NumPy's BLAS, whose buffers keep parts of them until overwritten.

All vectors are multiplied here, so that an erasure knows whether, and how many, buffers hold some.
OpenBLAS takes for each product the first buffer that no other product uses, and a buffer more for
each of its threads.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
AT_ONCE = 16  # products; each by as many threads as there are processors
PACKED_MAX = 1024  # rows of a block that BLAS packs, and numbers of each, at most
FEW = 8  # rows by which many are multiplied
WAIT_SECONDS = 1.0  # at most, should memory lack for a notice

_changed = threading.Condition()  # guards what follows
_running = 0  # products
_most, _widest = 0, 0  # products at the same time, and numbers of a row, since the last overwriting
_alone = False  # True while buffers are overwritten


def multiply(left: Floats, right: Floats, out: Floats | None = None) -> Any:
    """Return ``left @ right``, in ``out`` if it is given."""
    with _noted(left.shape[-1]):
        return np.matmul(left, right, out=out)


def positive_inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a symmetric matrix; raise LinAlgError if not positive definite.

    Its last bits depend on the processor and the threads.
    """
    with _noted(len(matrix)):
        np.linalg.cholesky(matrix)
        found: NDArray[np.float64] = np.linalg.inv(matrix)  # type: ignore[assignment]
        return found


@contextmanager
def _noted(width: int) -> Iterator[None]:
    """Context manager: make a product of rows of ``width`` numbers, of AT_ONCE at a time."""
    global _running, _most, _widest
    with _changed:
        while _alone or _running == AT_ONCE:
            _changed.wait(WAIT_SECONDS)
        _running += 1
        _most, _widest = max(_most, _running), max(_widest, width)
    try:
        yield
    finally:
        with _changed:
            _running -= 1
            _changed.notify_all()


def overwrite_buffers() -> None:
    """Overwrite the buffers that products were made in since the last time, while none is made.

    The first is overwritten by a product of zeros, and held, so that the next product takes the
    next one. Of another BLAS than OpenBLAS only one buffer is overwritten.
    """
    global _alone, _most, _widest
    with _changed:
        while _alone:
            _changed.wait(WAIT_SECONDS)
        _alone = True
    try:
        with _changed:
            while _running:
                _changed.wait(WAIT_SECONDS)
        take, give = _buffers()
        with ExitStack() as held:
            for _ in range(_most):
                _multiply_zeros(min(_widest, PACKED_MAX))
                held.callback(give, take())
        _most = _widest = 0
    finally:
        with _changed:
            _alone = False
            _changed.notify_all()


def _multiply_zeros(width: int) -> None:
    """Fill a buffer, and those of BLAS's threads, as rows of ``width`` numbers fill them."""
    for kind in (np.float32, np.float64):
        rows = 2 * PACKED_MAX * _processors()  # two blocks for each thread
        size = rows * width * np.dtype(kind).itemsize
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # pages that are only read take no RAM
        zeros = mmap.mmap(-1, size, flags=private, prot=mmap.PROT_READ)
        many = np.frombuffer(zeros, kind).reshape(rows, width)
        for few in (many[:1], many[:FEW]):
            np.matmul(few, many.T)
            np.matmul(many, few.T)


def _processors() -> int:
    """Return how many processors this process may use, as BLAS counts them for its threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reserve_buffers() -> None:
    """Have OpenBLAS map buffers for AT_ONCE products; without RAM for one it ends the process.

    They take addresses, and RAM where they are used.
    """
    take, give = _buffers()
    with ExitStack() as held:
        for _ in range(AT_ONCE):
            held.callback(give, take())


def _buffers() -> tuple[Callable[[], int | None], Callable[[int | None], object]]:
    """Return OpenBLAS's functions to take its first free buffer, and to give it back.

    With another BLAS they do nothing.
    """
    blas = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # and the libraries that it links
    if not hasattr(blas, "blas_memory_alloc"):
        return lambda: None, lambda buffer: None
    blas.blas_memory_alloc.restype = ctypes.c_void_p
    blas.blas_memory_free.argtypes = (ctypes.c_void_p,)
    return lambda: blas.blas_memory_alloc(0), blas.blas_memory_free
