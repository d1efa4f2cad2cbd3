"""A server of this project for a measurement, in a process and a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Served:
    """``address`` to ask, ``pid`` to look at, ``seconds`` from the start to the first answer."""

    address: str
    pid: int
    seconds: float

    def resident_bytes(self) -> int:
        """RAM in use by the server."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the server is gone")


@contextmanager
def served(data: Path, *flags: str) -> Iterator[Served]:
    """Serve ``data`` until the block ends."""
    with started("serve", "--data", str(data), *flags) as server:
        yield server


@contextmanager
def started(*command: str) -> Iterator[Served]:
    """Run a command that serves, on a free port, until the block ends."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "visual_memory_service", *command, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    ) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().rsplit(maxsplit=1)[-1]
            yield Served(address, process.pid, time.perf_counter() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="visual-memory-bench-") as path:
        yield Path(path)
