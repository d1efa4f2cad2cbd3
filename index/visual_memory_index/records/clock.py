"""The clock of everything stored."""

from __future__ import annotations

import time


def now() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1000
