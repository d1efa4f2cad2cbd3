"""The allocator of the process that serves: it overwrites what is freed, so that nothing stays."""

from __future__ import annotations

import os
import sys

TUNABLES, ALLOCATOR = "GLIBC_TUNABLES", "PYTHONMALLOC"
WIPING = "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"


def wipe_what_is_freed() -> None:
    """Have the C library overwrite memory when it is freed, so that what is erased does not stay.

    Python then takes all of its memory from there, where it would else keep pools. Both are read
    when a process starts, so this one starts anew, unless it has; others than glibc do without.
    """
    given = os.environ.get(TUNABLES, "")
    wiping = WIPING in given and os.environ.get(ALLOCATOR) == "malloc"
    if sys.platform == "linux" and not wiping:
        tunables = ":".join(filter(None, (given, WIPING)))
        environment = {**os.environ, TUNABLES: tunables, ALLOCATOR: "malloc"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
