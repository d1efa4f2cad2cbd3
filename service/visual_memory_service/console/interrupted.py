"""What a command that is interrupted leaves: work that goes on, and what is stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from visual_memory import Client
from visual_memory.terminal.output import say
from visual_memory.terminal.progress import Progress


@contextmanager
def told_what_goes_on(client: Client, memory: str) -> Iterator[None]:
    """Name the operations of a memory that go on, where what is inside is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        for each in client.operations(memory):
            if each.state == "running":
                action = "wait" if each.kind == "unlearn" else "cancel"
                say(
                    f"{each.name} goes on; visual-memory operations {action} {each.name}   "
                    f"{'waits for' if action == 'wait' else 'stops'} it.",
                    file=sys.stderr,
                )
        raise


@contextmanager
def told_what_is_stored(memory: str, progress: Progress, count: int) -> Iterator[None]:
    """Say how many of ``count`` are stored in a memory, where what is inside is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        say(
            f"{progress.done:,} of {count:,} are stored in {memory}, perhaps some more; the same "
            "command goes on after them.",
            file=sys.stderr,
        )
        raise
