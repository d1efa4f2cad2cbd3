"""A server for a measurement, in a process and a folder of its own."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import visual_memory
from visual_memory import Client

LISTEN = ("--listen", "127.0.0.1:0")
QUIET = ("--log-level", "warning")
NOT_KEPT = "PYTHONDONTWRITEBYTECODE"  # with it a server compiles its loops at each start
# Before a command, which then gets SIGTERM when its parent ends. A ``preexec_fn`` of Popen could do
# it, too, but then Python forks, which gRPC's threads in this process may abort.
ENDS_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")


def seconds(act: Callable[[], object]) -> float:
    """Return the wall time of a call in seconds."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def median(act: Callable[[], object], repeat: int) -> float:
    """Return the median wall time of some calls, in seconds."""
    return statistics.median(seconds(act) for _ in range(repeat))


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: ``address``, ``pid``, ``seconds`` from the start to the first answer."""

    address: str
    pid: int
    seconds: float

    def processor_seconds(self) -> float:
        """Return the processor time of all threads of the server, with those that have ended."""
        clock = ~self.pid << 3 | 2  # as the C library's clock_getcpuclockid makes it on Linux
        return time.clock_gettime(clock)

    def memory_bytes(self, kind: str) -> int:
        """Return the server's RAM in bytes; ``kind`` is VmRSS for now, or VmHWM for the peak.

        Raises RuntimeError if the server has ended.
        """
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(kind):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the server is gone")


@contextmanager
def served(data: Path, *flags: str) -> Iterator[Served]:
    """Run ``visual-memory serve`` on the folder ``data``, with ``flags``, until the block ends."""
    with started("serve", "--data", str(data), *flags, *QUIET) as server:
        yield server


@contextmanager
def started(*command: str, under: Sequence[str] = ()) -> Iterator[Served]:
    """Run a ``visual-memory`` server command on a free port until the block or this process ends.

    ``under`` is a program that runs it, with its arguments. Raises RuntimeError if the command ends
    before it serves.
    """
    kept = {name: value for name, value in os.environ.items() if name != NOT_KEPT}
    began = time.perf_counter()
    with subprocess.Popen(
        [
            *ENDS_WITH_PARENT,
            *under,
            sys.executable,
            "-m",
            "visual_memory_service",
            *command,
            *LISTEN,
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=kept | {"OMP_WAIT_POLICY": "passive"},
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                within = f" under {under[0]}; may it run here?" if under else ""
                raise RuntimeError(
                    f"visual-memory {' '.join(command)} ended before it served{within}"
                )
            yield Served(line.split()[-1], process.pid, time.perf_counter() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def own_client() -> Iterator[Client]:
    """Yield a client of a new, empty server, which is stopped at the end."""
    with (
        folder() as work,
        served(work / "data") as server,
        visual_memory.connect(server.address) as client,
    ):
        yield client


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a temporary folder, and delete it afterwards."""
    with tempfile.TemporaryDirectory(prefix="visual-memory-bench-") as path:
        yield Path(path)
