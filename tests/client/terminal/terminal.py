"""A terminal on which the output of a program is read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any


def shown(command: Sequence[str], stream: str, **options: Any) -> str:
    """Run a program whose ``stream`` is a terminal; return all that it wrote there."""
    reader, terminal = os.openpty()
    try:
        where: Any = {stream: terminal}
        subprocess.run(command, check=True, **where, **options)
        os.close(terminal)
        found = b""
        with suppress(OSError):  # at the end
            while part := os.read(reader, 65536):
                found += part
        return found.decode()
    finally:
        os.close(reader)
