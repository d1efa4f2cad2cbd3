"""Products and inverses by NumPy's BLAS, of whose buffers each keeps parts: the widest is noted.

All vectors are multiplied here, so that an erasure knows how much of the buffers it has to
overwrite, and how many there are: no more than ``AT_ONCE`` products are made at the same time.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
AT_ONCE = max(8, 2 * (os.cpu_count() or 1))
_places = threading.Semaphore(AT_ONCE)
_lock = threading.Lock()
_widest = 0


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
    """Context manager: note rows of ``width`` numbers, once fewer than ``AT_ONCE`` are multiplied.

    They are noted at the end, too: the note was perhaps taken meanwhile.
    """
    with _places:
        note(width)
        try:
            yield
        finally:
            note(width)


def take_buffers(count: int) -> None:
    """Have OpenBLAS map ``count`` buffers now: without RAM for one later, it would end the process.

    They take addresses, no RAM. No effect with another BLAS.
    """
    blas = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # and what it links
    if hasattr(blas, "blas_memory_alloc"):
        blas.blas_memory_alloc.restype = ctypes.c_void_p
        for buffer in [blas.blas_memory_alloc(0) for _ in range(count)]:
            blas.blas_memory_free(ctypes.c_void_p(buffer))


def note(width: int) -> None:
    """Note that rows of ``width`` numbers are multiplied, or still in the buffers."""
    global _widest
    with _lock:
        _widest = max(_widest, width)


def take_note() -> int:
    """Return the most numbers of a row multiplied since the last call, or 0."""
    global _widest
    with _lock:
        width, _widest = _widest, 0
    return width
