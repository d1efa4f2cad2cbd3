"""Work that a command waits for goes on in the server when the command is interrupted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from visual_memory import Client
from visual_memory._terminal.output import say


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
