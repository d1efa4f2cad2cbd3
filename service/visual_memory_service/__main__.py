"""``python -m visual_memory_service`` is the command ``visual-memory``."""

from __future__ import annotations

import os
import sys

from visual_memory_service.erasure.allocator import wipe_what_is_freed

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> int:
    """Carry out one command; it may be interrupted while it is still being loaded."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before it is loaded; our sentences say it all
    try:
        if sys.argv[1:2] == ["serve"]:  # starts anew for it: before all is loaded, not after
            wipe_what_is_freed()
        from visual_memory.terminal.ending import carry_out
        from visual_memory_service import cli

        return carry_out(cli.run)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
