"""The priority of threads that work in the background, beside queries."""

from __future__ import annotations

import os
import sys
import threading

BACKGROUND_NICENESS = 10  # of Linux: about a tenth of the processor beside a thread that wants all


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread; only Linux has priorities of threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
