"""Fixtures of the tests of the runtime."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable

import pytest


class HeapInfo(ctypes.Structure):
    """What mallinfo2(3) tells of the heap."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


@pytest.fixture
def in_use() -> Callable[[], int]:
    """A function that returns the bytes that the C library has lent."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("this C library has no mallinfo2")
    library.mallinfo2.restype = HeapInfo

    def count() -> int:
        gc.collect()
        info = library.mallinfo2()
        bytes_in_use: int = info.uordblks + info.hblkhd
        return bytes_in_use

    return count
