"""The program ``visual-memory``, also run by ``python -m visual_memory_service``."""

from __future__ import annotations

import os
import sys

from visual_memory_service.config import FILES_AND_MEMORY, early_erasure
from visual_memory_service.erasure.allocator import overwrite_freed_memory

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> int:
    """Run one command and return its exit code, also if interrupted while it is being loaded."""
    os.environ.setdefault(
        "GRPC_VERBOSITY", "NONE"
    )  # before gRPC is loaded; our messages are enough
    try:
        if sys.argv[1:2] == ["serve"] and early_erasure(sys.argv[2:]) == FILES_AND_MEMORY:
            overwrite_freed_memory()  # may execute the program again, so before all is loaded
        from visual_memory.terminal.ending import run_program
        from visual_memory_service import cli

        return run_program(cli.run)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
