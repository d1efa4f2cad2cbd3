"""Environment of a process that erases from RAM: its libraries leave no residue there.

glibc overwrites freed memory, and Python takes all its memory from glibc. glibc finds all functions
of a library when it loads it: at a function's first call it would first write the processor's
registers, which may hold parts of a vector, to the thread's stack, where they stay.
"""

from __future__ import annotations

import os
import sys

TUNABLES, OVERWRITING = "GLIBC_TUNABLES", "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"
OTHERS = {"PYTHONMALLOC": "malloc", "LD_BIND_NOW": "1"}


def run_with_environment() -> None:
    """Execute this program again unless its environment is the one described above.

    It is read only when a process starts, and by glibc alone: other systems go on without.
    """
    given = os.environ.get(TUNABLES, "")
    if sys.platform != "linux" or (OVERWRITING in given and OTHERS.items() <= os.environ.items()):
        return
    tunables = given if OVERWRITING in given else ":".join(filter(None, (given, OVERWRITING)))
    try:
        os.execve(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            {**os.environ, **OTHERS, TUNABLES: tunables},
        )
    except OSError as error:
        raise SystemExit(
            f"{sys.executable} cannot be run again, as unlearning from RAM needs it "
            f"({error.strerror}); let the server run it, or serve with --erasure files."
        ) from None
