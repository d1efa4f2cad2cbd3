"""A file that one process at a time may write."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO, Any

from visual_memory_benchmarks.errors import OtherRun


def lock(file: IO[Any], path: Path) -> None:
    """Lock an open ``file`` until it is closed or the process dies.

    Raises OtherRun, which names ``path``, if another process has locked it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OtherRun(path, ["another process is writing it"]) from None
