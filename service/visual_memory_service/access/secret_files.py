"""Files that nobody but the server's user should read."""

from __future__ import annotations

from pathlib import Path

import structlog

from visual_memory.files import others_can_read

log = structlog.get_logger()


def tell_if_open(path: Path) -> None:
    """Log a warning if any user of the machine may read a file."""
    if others_can_read(path):
        log.warning("others can read a secret", path=str(path), way_out=f"chmod 600 {path}")
