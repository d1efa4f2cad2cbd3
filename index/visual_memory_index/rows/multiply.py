"""Products and inverses by NumPy's BLAS, whose buffers keep parts of them until cleared.

All vectors are multiplied here, so that no product is made while buffers are cleared. OpenBLAS
takes for each product the first buffer that no other uses. It is held to one thread a product: its
own threads never give their buffers away, so these could not be cleared.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
AT_ONCE = 16  # products
WAIT_SECONDS = 1.0  # at most, should memory lack for a notice
PAGES = Path("/proc/self/statm")  # begins with the number of pages that the process has mapped
MEBIBYTE = 1 << 20  # a buffer has a whole number of them; its mapping may have a page more
SET_THREADS = "scipy_openblas_set_num_threads64_", "openblas_set_num_threads"
GET_PARALLEL = "scipy_openblas_get_parallel64_", "openblas_get_parallel"
BY_PTHREADS = (0, 1)  # or no threads; those of OpenMP have buffers of their own

_changed = threading.Condition()  # guards what follows
_running = 0  # products
_alone = False  # True while buffers are cleared


def multiply(left: Floats, right: Floats, out: Floats | None = None) -> Any:
    """Return ``left @ right``, in ``out`` if it is given."""
    with _counted():
        return np.matmul(left, right, out=out)


def positive_inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a symmetric matrix; raise LinAlgError if not positive definite.

    Its last bits depend on the processor.
    """
    with _counted():
        np.linalg.cholesky(matrix)
        found: NDArray[np.float64] = np.linalg.inv(matrix)  # type: ignore[assignment]
        return found


@contextmanager
def _counted() -> Iterator[None]:
    """Context manager: make one product, of AT_ONCE at a time, while no buffers are cleared."""
    global _running
    with _changed:
        while _alone or _running == AT_ONCE:
            _changed.wait(WAIT_SECONDS)
        _running += 1
    try:
        yield
    finally:
        with _changed:
            _running -= 1
            _changed.notify_all()


@contextmanager
def _none_made() -> Iterator[None]:
    """Context manager: wait until no product is made, and let none begin."""
    global _alone
    with _changed:
        while _alone:
            _changed.wait(WAIT_SECONDS)
        _alone = True
    try:
        with _changed:
            while _running:
                _changed.wait(WAIT_SECONDS)
        yield
    finally:
        with _changed:
            _alone = False
            _changed.notify_all()


class Buffers:
    """The buffers of OpenBLAS, mapped for AT_ONCE products from the start on.

    Without RAM for one later it would end the process. They take addresses, and RAM where they are
    used. With another BLAS, or on a system that does not say how large they are, they are not
    ``clearable``.
    """

    def __init__(self) -> None:
        blas = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # and the libraries that it links
        set_threads, parallel = (
            [getattr(blas, name) for name in names if hasattr(blas, name)]
            for names in (SET_THREADS, GET_PARALLEL)
        )
        pthreads = parallel and set_threads and parallel[0]() in BY_PTHREADS
        self._bytes = 0
        if pthreads and hasattr(blas, "blas_memory_alloc"):
            set_threads[0](1)
            self._take, self._give = blas.blas_memory_alloc, blas.blas_memory_free
            self._take.restype = ctypes.c_void_p
            self._give.argtypes = (ctypes.c_void_p,)
            self._bytes = self._measure()

    @property
    def clearable(self) -> bool:
        return self._bytes > 0

    def clear(self) -> None:
        """Clear the buffers of all products, while none is made."""
        if self.clearable:
            with _none_made(), self._held() as held:
                for buffer in held:
                    forget(buffer, self._bytes)

    def _measure(self) -> int:
        """Return the bytes of a buffer: by how much most of them enlarge the process. 0 if unknown.

        Others may be mapping memory meanwhile, and some buffers may be mapped already.
        """
        with _none_made(), self._held() as held:
            sizes = [mapped(), *(mapped() for _ in held)]
        ((size, count),) = Counter(np.diff(sizes).tolist()).most_common(1)
        return size // MEBIBYTE * MEBIBYTE if 2 * count > AT_ONCE else 0

    @contextmanager
    def _held(self) -> Iterator[Iterator[int]]:
        """Context manager: the addresses of the first AT_ONCE buffers, each held once asked for."""
        held = list[int]()

        def taken() -> Iterator[int]:
            for _ in range(AT_ONCE):
                buffer = self._take(0)
                if not buffer:
                    raise MemoryError
                held.append(buffer)
                yield buffer

        try:
            yield taken()
        finally:
            for buffer in held:
                self._give(buffer)


@cache
def buffers() -> Buffers:
    """Return the buffers of this process, whose size is known only when they are mapped."""
    return Buffers()


def mapped() -> int:
    """Return the bytes of addresses that the process has mapped; 0 if the system does not say."""
    with suppress(OSError):
        return int(PAGES.read_text().split()[0]) * mmap.PAGESIZE
    return 0


def forget(start: int, size: int) -> None:
    """Give the pages of a private mapping back to Linux, after which they read as zeros."""
    system = ctypes.CDLL(None, use_errno=True)
    given = ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED
    if system.madvise(*given):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
