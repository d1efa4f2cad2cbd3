"""Refusals of commands, beside the errors of the server."""

from __future__ import annotations

from collections.abc import Iterable

from visual_memory.terminal.output import distinguishable, printable

SHOWN_MAX = 10


class Refused(Exception):
    """The command cannot be run; the message is for people, one sentence a line."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(printable, lines)))


class WrongUsage(Exception):
    """An argument is missing or excludes another, which argparse itself cannot see.

    The message follows ``error: ``, as argparse's own do.
    """


class MissingExtra(Refused):
    """A Python package is missing that only the extra ``extra`` of the project installs."""

    def __init__(self, module: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the Python package {module}, which is not installed; in the checkout "
            f"of visual-memory: pip install -e '.[{extra}]'"
        )
        self.module, self.extra = module, extra


def listed(names: Iterable[str], count: int | None = None) -> str:
    """List the first ten names, no two of which look the same, and the number of others.

    There are ``count`` in all, or as many as ``names``.
    """
    names = list(names)
    count = len(names) if count is None else count
    apart = distinguishable(names)
    names = [in_quotes(apart[name]) for name in names]
    shown = names[:SHOWN_MAX]
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def in_quotes(shown: str) -> str:
    """Return a name, in quotes if it is empty or has a comma, a quote or spaces at its ends."""
    if shown and shown.strip() == shown and not set(shown) & {",", '"'}:
        return shown
    return '"' + shown.replace('"', '\\"') + '"'
