"""What a command refuses by itself, before or beside the server."""

from __future__ import annotations

from collections.abc import Sequence

from visual_memory_service.commands.output import printable

SHOWN_MAX = 10


class Refused(Exception):
    """A command that cannot be carried out; the message is the sentence for the person."""


def listed(names: Sequence[str]) -> str:
    """The first names, comma-separated, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:SHOWN_MAX])
    return shown if len(names) <= SHOWN_MAX else f"{shown} and {len(names) - SHOWN_MAX} more"


def missing_extra(module: str, extra: str, purpose: str) -> Refused:
    """The sentence for a library that the base install leaves out."""
    return Refused(
        f"{purpose} needs the Python package {module}, which is not installed: "
        f"pip install 'visual-memory[{extra}]'"
    )
