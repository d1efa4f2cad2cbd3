"""Allocator of a serving process: freed memory is overwritten, so that no residue stays in it."""

from __future__ import annotations

import os
import sys

TUNABLES, ALLOCATOR = "GLIBC_TUNABLES", "PYTHONMALLOC"
WIPING = "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"


def overwrite_freed_memory() -> None:
    """Make glibc overwrite memory when it is freed; other C libraries do not.

    Python is made to allocate from glibc directly, without its own pools. A process reads both
    settings only at its start, so it executes its program again unless they are set.
    """
    given = os.environ.get(TUNABLES, "")
    wiping = WIPING in given and os.environ.get(ALLOCATOR) == "malloc"
    if sys.platform == "linux" and not wiping:
        tunables = ":".join(filter(None, (given, WIPING)))
        environment = {**os.environ, TUNABLES: tunables, ALLOCATOR: "malloc"}
        try:
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
        except OSError as error:
            raise SystemExit(
                f"{sys.executable} cannot be run again, as unlearning from RAM needs it "
                f"({error.strerror}); let the server run it, or serve with --erasure files."
            ) from None
