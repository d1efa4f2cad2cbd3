"""The program ``visual-memory``, also run by ``python -m visual_memory_service``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from visual_memory_service.erasure.environment import run_with_environment

MAY_SAY = ("VISUAL_MEMORY_SERVE_ERASURE", "VISUAL_MEMORY_SERVE_CONFIG")
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> int:
    """Run one command and return its exit code; SIGINT ends the process while it is loaded."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # libraries make other errors of an interrupt
    os.environ.setdefault(
        "GRPC_VERBOSITY", "NONE"
    )  # before gRPC is loaded; our messages are enough
    try:
        if sys.argv[1:2] == ["serve"] and erases_memory(sys.argv[2:]):
            run_with_environment()  # may execute the program again, so before all is loaded
        from visual_memory.terminal.ending import run_program
        from visual_memory_service import cli

        return run_program(cli.run)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def erases_memory(arguments: Sequence[str]) -> bool:
    """Return True if ``serve`` with these arguments erases from RAM, too, as is the default.

    Settings are loaded only for an argument that may be --erasure or --config, or a beginning of
    one, and for variables of theirs: a process that is to overwrite freed memory loads twice all
    that is loaded until then.
    """
    given = any(each.startswith(("--e", "--c")) for each in arguments)
    if not given and os.environ.keys().isdisjoint(MAY_SAY):
        return True
    from visual_memory_service.config import FILES_AND_MEMORY, early_erasure

    return early_erasure(arguments, os.environ) == FILES_AND_MEMORY


if __name__ == "__main__":
    sys.exit(main())
