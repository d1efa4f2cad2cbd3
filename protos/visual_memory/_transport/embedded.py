"""A server of the program's own: it ends with the program, and its memories with it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from threading import Timer
from typing import TextIO
from weakref import finalize

from visual_memory.errors import FailedPrecondition

COMMAND = (
    *("-m", "visual_memory_service", "serve", "--temporary"),
    *("--listen", "127.0.0.1:0", "--log-level", "warning"),
)
PREFIX = "VISUAL_MEMORY_"  # of variables, which are meant for another server
READY = "listening on "
READY_SECONDS = 60.0
DRAIN_SECONDS = 10.0


class EmbeddedServer:
    """A server with an empty temporary folder, which answers at ``target``, HOST:PORT.

    It ends once its standard input does, however the program ends: with ``end``, with this object,
    or with the program. Raises FailedPrecondition with the server's sentence if it does not start.
    """

    def __init__(self, *command: str) -> None:
        """Start ``command``, arguments of Python; by default those of ``serve --temporary``."""
        log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # closed in ``stop``
        process = subprocess.Popen(
            [sys.executable, *(command or COMMAND)],
            env={name: text for name, text in os.environ.items() if not name.startswith(PREFIX)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is meant for the program alone
        )
        self._end = finalize(self, stop, process, log)
        self.target = address(process)
        if not self.target:
            process.kill()
            process.wait()
            sentence = last_line(log)
            self.end()
            raise FailedPrecondition(sentence, reason="NO_SERVER")

    def end(self) -> None:
        """End the server, and with it its memories; again is no error."""
        self._end()


def address(process: subprocess.Popen[str]) -> str:
    """Wait until the server answers; return its address, HOST:PORT, or nothing if it does not."""
    assert process.stdout is not None
    watch = Timer(READY_SECONDS, process.kill)
    watch.start()
    try:
        line = process.stdout.readline()
    finally:
        watch.cancel()
    return line.removeprefix(READY).strip() if line.startswith(READY) else ""


def stop(process: subprocess.Popen[str], log: TextIO) -> None:
    """End the input of the server and wait for its end, which is forced if it does not drain."""
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
    try:
        process.wait(DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()


def last_line(log: TextIO) -> str:
    """Return the last line that a server has written, which says why it ended."""
    log.seek(0)
    lines = log.read().splitlines()
    return lines[-1] if lines else f"The server did not start within {READY_SECONDS:g} s."
