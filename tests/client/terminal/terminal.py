"""A terminal on which the output of a program is read."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Sequence
from contextlib import suppress
from typing import Any


def shown(command: Sequence[str], stream: str, *, columns: int = 0, **options: Any) -> str:
    """Run a program whose ``stream`` is a terminal; return all that it wrote there.

    A terminal of 0 columns does not say how wide it is.
    """
    reader, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        where: Any = {stream: terminal}
        with subprocess.Popen(command, **where, **options) as process:
            os.close(terminal)
            found = b""
            with suppress(OSError):  # at the end
                while part := os.read(reader, 65536):
                    found += part
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return found.decode()
    finally:
        os.close(reader)
