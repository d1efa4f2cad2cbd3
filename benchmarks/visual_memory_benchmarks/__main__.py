"""``python -m visual_memory_benchmarks`` is the command ``visual-memory-bench``."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE


def main() -> int:
    """Carry out one command, and never end with a traceback for what a person did."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before it is loaded; our sentences say it all
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or exit flushes and fails
        return PIPE_CLOSED


def run(arguments: list[str]) -> int:
    """The exit code of a command; a refusal is one sentence on standard error."""
    from visual_memory import Error
    from visual_memory_benchmarks import cli
    from visual_memory_benchmarks.errors import BenchmarkRefusal

    try:
        code = cli.run(arguments)
        sys.stdout.flush()
        return code
    except (Error, BenchmarkRefusal) as refusal:
        print(refusal, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
