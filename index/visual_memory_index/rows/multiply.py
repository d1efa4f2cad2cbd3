"""Products and inverses by NumPy's BLAS, whose buffers keep parts of them until cleared.

All vectors are multiplied here, so that no product is made while buffers are cleared. OpenBLAS
takes for each product the first buffer that no other uses. It is held to one thread a product: its
own threads never give their buffers away, so these could not be cleared.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.scratch import BUFFERS, LACKING, REFUSED, clear_buffers, clear_stack

T = TypeVar("T")
Floats = NDArray[np.floating[Any]]
PAGES = Path("/proc/self/statm")  # begins with the number of pages that the process has mapped
MEBIBYTE = 1 << 20  # a buffer has a whole number of them; its mapping may have a page more
SET_THREADS = "scipy_openblas_set_num_threads64_", "openblas_set_num_threads"
GET_PARALLEL = "scipy_openblas_get_parallel64_", "openblas_get_parallel"
BY_PTHREADS = (0, 1)  # or no threads; those of OpenMP have buffers of their own

# A product holds one of these locks: to release it takes no memory, which may lack.
_products = tuple(threading.Lock() for _ in range(BUFFERS))
_turns = count()


def multiply(left: Floats, right: Floats, out: Floats | None = None) -> Any:
    """Return ``left @ right``, in ``out`` if it is given."""
    return _made(partial(np.matmul, left, right, out=out))


def positive_inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a symmetric matrix; raise LinAlgError if not positive definite.

    Its last bits depend on the processor.
    """

    def inverted() -> NDArray[np.float64]:
        np.linalg.cholesky(matrix)
        return np.linalg.inv(matrix)  # type: ignore[return-value]

    return _made(inverted)


def _made(product: Callable[[], T]) -> T:
    """Make a product, one of as many at a time as there are buffers, while none are cleared."""
    for lock in _products:
        if lock.acquire(blocking=False):
            break
    else:
        lock = _products[next(_turns) % BUFFERS]
        lock.acquire()
    try:
        return product()
    finally:
        try:
            clear_stack()
        finally:
            lock.release()


def _alone(act: Callable[[], T]) -> T:
    """Act while no product is made: these take the last locks seldom, and wait for one of them."""
    first = BUFFERS
    try:
        while first:
            _products[first - 1].acquire()
            first -= 1
        return act()
    finally:
        while first < BUFFERS:
            _products[first].release()
            first += 1


class Buffers:
    """The buffers of OpenBLAS, mapped for all products at a time from the start on.

    Without RAM for one later it would end the process. They take addresses, and RAM where they are
    used. They are not ``clearable`` with another BLAS, where the system does not say how large they
    are, or where most of them were mapped before.
    """

    def __init__(self) -> None:
        blas = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # and the libraries that it links
        set_threads, parallel = (
            [getattr(blas, name) for name in names if hasattr(blas, name)]
            for names in (SET_THREADS, GET_PARALLEL)
        )
        self._bytes = 0
        if not (parallel and set_threads and hasattr(blas, "blas_memory_alloc")):
            return
        if parallel[0]() in BY_PTHREADS:
            set_threads[0](1)
            take, give = blas.blas_memory_alloc, blas.blas_memory_free
            take.restype, give.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
            self._bytes = _alone(partial(measured, take, give))
            self._clear = partial(clear_buffers, address(take), address(give), self._bytes)

    @property
    def clearable(self) -> bool:
        return self._bytes > 0

    def clear(self) -> None:
        """Clear the buffers of all products, while none is made. Raises MemoryError, OSError."""
        problem = _alone(self._clear) if self.clearable else 0
        if problem == LACKING:
            raise MemoryError
        if problem == REFUSED:
            raise OSError("Linux does not take back the pages of OpenBLAS's buffers")


@cache
def buffers() -> Buffers:
    """Return the buffers of this process, whose size is known only when they are mapped."""
    return Buffers()


def mapped() -> int:
    """Return the bytes of addresses that the process has mapped; 0 if the system does not say."""
    with suppress(OSError):
        return int(PAGES.read_text().split()[0]) * mmap.PAGESIZE
    return 0


def measured(take: Any, give: Any) -> int:
    """Return the bytes of a buffer: by how much most of them enlarge the process. 0 if unknown.

    Others may be mapping memory meanwhile, and some buffers may be mapped already.
    """
    sizes, held = [mapped()], list[int]()
    try:
        for _ in range(BUFFERS):
            if not (buffer := take(0)):
                raise MemoryError
            held.append(buffer)
            sizes.append(mapped())
    finally:
        for buffer in held:
            give(buffer)
    ((size, times),) = Counter(np.diff(sizes).tolist()).most_common(1)
    return size // MEBIBYTE * MEBIBYTE if 2 * times > BUFFERS else 0


def address(function: Any) -> int:
    """Return the address of a function of a C library."""
    found = ctypes.cast(function, ctypes.c_void_p).value
    assert found is not None
    return found
