"""End of the process by a library that calls exit(), as OpenBLAS does where RAM is refused."""

from __future__ import annotations

import ctypes


def end_at_exit() -> None:
    """Have the process end at once where any code calls exit() of the C library from now on.

    Else exit() first calls what libraries registered; that may wait for a lock or for threads for
    ever, and the process would stay, without answers. Without effect under other C libraries than
    glibc.
    """
    libc = ctypes.CDLL(None)
    on_exit = getattr(libc, "on_exit", None)
    if on_exit is not None:
        on_exit(libc._exit, None)  # called with the exit code
