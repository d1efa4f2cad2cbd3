"""Environment of a process that erases from RAM: its libraries leave no residue there.

glibc overwrites freed memory, and Python takes all its memory from glibc. glibc finds the functions
of a library when it loads it: at a function's first call it would first write the processor's
registers, which may hold parts of a vector, to the thread's stack, where they stay.
"""

from __future__ import annotations

import ctypes
import os
import sys

TUNABLES, OVERWRITING = "GLIBC_TUNABLES", "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"
OTHERS = {"PYTHONMALLOC": "malloc", "LD_BIND_NOW": "1"}
FILLED = bytes([165 ^ 0xFF]) * 64  # as glibc returns memory that it overwrites when it is freed
RUN_AGAIN = "VISUAL_MEMORY_RUN_AGAIN"


def run_with_environment() -> None:
    """Execute this program again unless its environment is the one described above.

    It takes effect only when a process starts. On systems other than Linux RAM is not erased, and
    nothing is done. Raises SystemExit if the program cannot be executed, or has been in vain.
    """
    again = os.environ.pop(RUN_AGAIN, None)  # which no program run by this one should have
    if sys.platform != "linux" or in_effect():
        return
    if again is not None:
        raise SystemExit(
            f"{sys.executable} was run again with settings of its environment, as unlearning from "
            "RAM needs it, but they have no effect: run it without -E and -I, without setuid and "
            "capabilities of its own, with a GLIBC_TUNABLES that glibc can read, and with glibc's "
            "malloc (no LD_PRELOAD of another); or serve with --erasure files."
        )
    tunables = ":".join(filter(None, (os.environ.get(TUNABLES), OVERWRITING)))
    try:
        os.execve(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            {**os.environ, **OTHERS, TUNABLES: tunables, RUN_AGAIN: "1"},
        )
    except OSError as error:
        raise SystemExit(
            f"{sys.executable} cannot be run again, as unlearning from RAM needs it "
            f"({error.strerror}); let the server run it, or serve with --erasure files."
        ) from None


def in_effect() -> bool:
    """Return whether this process has the environment, and shows that Python and glibc heed it."""
    return (
        os.environ.get(TUNABLES, "").endswith(OVERWRITING)  # of two settings the last one counts
        and OTHERS.items() <= os.environ.items()
        and not sys.flags.ignore_environment
        and newly_allocated() == FILLED
    )


def newly_allocated() -> bytes:
    """Return memory as the C library allocates it."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    at = library.malloc(ctypes.c_size_t(len(FILLED)))
    try:
        return ctypes.string_at(at, len(FILLED))
    finally:
        library.free(at)
