"""Entry point of ``python -m visual_memory_benchmarks``, the command ``visual-memory-bench``."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> int:
    """Run one command; return its exit code, 130 if interrupted while modules are loaded."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before gRPC is loaded, whose logs add nothing
    try:
        from visual_memory.terminal.ending import run_program
        from visual_memory_benchmarks import cli

        return run_program(cli.run)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
