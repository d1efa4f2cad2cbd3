"""Messages of interrupted commands: operations that go on, and entries that are stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from visual_memory import Client
from visual_memory.terminal.output import printable, say
from visual_memory.terminal.progress import Progress


@contextmanager
def report_running_operations(client: Client, memory: str) -> Iterator[None]:
    """Context manager: on Ctrl-C, print running operations, and how to await or cancel them.

    They may be of others; kind and time tell which one the command has begun.
    """
    try:
        yield
    except KeyboardInterrupt:
        for each in client.operations(memory):
            if each.state == "running":
                stop = "" if each.kind == "unlearn" else "; to stop it, cancel in place of wait"
                say(
                    f"{each.name}, {each.kind} of {printable(each.create_time)} UTC, goes on; to "
                    f"wait for it: visual-memory operations wait {each.name}{stop}",
                    file=sys.stderr,
                )
        raise


@contextmanager
def report_made(memory: str) -> Iterator[None]:
    """Context manager: on Ctrl-C, print that the server may still make the memory."""
    try:
        yield
    except KeyboardInterrupt:
        say(
            f"The server may still make {memory}, whole; visual-memory list shows it.",
            file=sys.stderr,
        )
        raise


@contextmanager
def report_stored(memory: str, progress: Progress, count: int) -> Iterator[None]:
    """Context manager: on Ctrl-C, print how many of ``count`` items are stored, and raise again."""
    try:
        yield
    except KeyboardInterrupt:
        say(
            f"{progress.done:,} of {count:,} are stored in {memory}, perhaps some more; the same "
            "command goes on after them.",
            file=sys.stderr,
        )
        raise
