"""A temporary server for the demo."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

from visual_memory.terminal.refused import Refused

READY = "listening on "
READY_SECONDS = 60.0
DRAIN_SECONDS = 10.0


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Context manager that runs a server with its data in ``folder``; yields its HOST:PORT.

    Raises Refused if the server does not start.
    """
    command = [sys.executable, "-m", "visual_memory_service", "serve"]
    flags = ["--data", str(folder / "data"), "--listen", "127.0.0.1:0", "--log-level", "warning"]
    with (
        open(folder / "log", "w+", encoding="utf-8") as log,
        subprocess.Popen(
            [*command, *flags], stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        try:
            yield address(server, log.name)
        finally:
            stop(server)


def address(server: subprocess.Popen[str], log: str) -> str:
    """Wait until the server answers; return its address, HOST:PORT.

    Raises Refused with the last line of the file ``log`` if the server ends, or is not ready in
    time.
    """
    assert server.stdout is not None
    watch = Timer(READY_SECONDS, server.kill)
    watch.start()
    try:
        line = server.stdout.readline()
    finally:
        watch.cancel()
    if not line.startswith(READY):
        server.wait()
        lines = Path(log).read_text(encoding="utf-8").splitlines()
        raise Refused(lines[-1] if lines else "The demo's server did not start.")
    return line.removeprefix(READY).strip()


def stop(server: subprocess.Popen[str]) -> None:
    """Stop the server, by force if it does not drain in time."""
    server.terminate()
    try:
        server.wait(DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
