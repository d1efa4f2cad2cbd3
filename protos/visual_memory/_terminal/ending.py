"""How a command ends: by its exit code, and never with a traceback for what a person did."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper

from visual_memory._terminal.refused import Refused
from visual_memory.errors import Error

PIPE_CLOSED = 141  # 128 + SIGPIPE


def carry_out(run: Callable[[Sequence[str]], int]) -> int:
    """The exit code of what this process was told; a refusal is one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except (Error, Refused) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or exit flushes and fails
        return PIPE_CLOSED
