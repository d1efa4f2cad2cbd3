"""What a command refuses by itself, before or beside the server."""

from __future__ import annotations

from collections.abc import Iterable

from visual_memory.terminal.output import printable, told_apart

SHOWN_MAX = 10


class Refused(Exception):
    """A command that cannot be carried out; the message is for the person, a sentence a line."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(printable, lines)))


class WrongUsage(Exception):
    """An argument that is missing or excludes another, where argparse itself cannot tell.

    The message goes on after ``error: ``, as argparse's own do.
    """


class MissingExtra(Refused):
    """A library that the base install leaves out."""

    def __init__(self, module: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the Python package {module}, which is not installed; in the checkout "
            f"of visual-memory: pip install -e '.[{extra}]'"
        )
        self.module, self.extra = module, extra


def listed(names: Iterable[str]) -> str:
    """The first names, comma-separated, and how many more there are; no two look the same."""
    names = list(names)
    apart = told_apart(names)
    names = [in_quotes(apart[name]) for name in names]
    shown = ", ".join(names[:SHOWN_MAX])
    return shown if len(names) <= SHOWN_MAX else f"{shown} and {len(names) - SHOWN_MAX} more"


def quoted(name: str) -> str:
    """A name, in quotes where its ends would not be seen between others."""
    return in_quotes(printable(name))


def in_quotes(shown: str) -> str:
    """The same for what is printed of a name."""
    if shown and shown.strip() == shown and not set(shown) & {",", '"'}:
        return shown
    return '"' + shown.replace('"', '\\"') + '"'
