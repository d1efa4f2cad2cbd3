"""Pictures that cannot be used: a command refuses them first, or leaves them out."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from visual_memory import InvalidArgument
from visual_memory.errors import ITEM
from visual_memory.terminal.output import plural, say
from visual_memory.terminal.refused import SHOWN_MAX, Refused, listed

PICTURE = re.compile(r"images\[\d+\]|entries\[\d+\]\.image")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def add_skip_bad(parser: ArgumentParser, done: str) -> None:
    """Add --skip-bad; ``done`` is the verb of its help text, such as ``stored``."""
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help=f"leave out pictures that cannot be used, and exit 1; without it nothing is {done}",
    )


def refuse(bad: Mapping[str, str], options: Namespace, *, done: str, do: str) -> None:
    """Raise Refused if ``bad``, reasons by picture, is not empty and --skip-bad is not given.

    ``done`` and ``do`` are verbs of the message, such as ``stored`` and ``store``.
    """
    if bad and not options.skip_bad:
        raise Refused(
            *lines(bad),
            f"Nothing was {done}, because of {plural(len(bad), 'picture')}; "
            f"use --skip-bad to {do} the others.",
        )


def remarks_on(others: Mapping[str, int], remarks: Iterable[str]) -> list[str]:
    """Return a sentence that counts files that are no pictures by suffix, then the remarks."""
    ends = [f"{count:,} {end or 'without a suffix'}" for end, count in sorted(others.items())]
    return [*([f"Left out, as no pictures: {', '.join(ends)}."] if ends else []), *remarks]


def report_remarks(others: Mapping[str, int], remarks: Iterable[str]) -> None:
    """Print to standard error a count of the files that are no pictures, and the remarks."""
    for sentence in remarks_on(others, remarks):
        say(sentence, file=sys.stderr)


def send(
    call: Callable[[list[Item]], Answer],
    batch: list[Item],
    name: Callable[[Item], str],
    bad: dict[str, str],
    options: Namespace,
) -> Answer | None:
    """Send a batch; return the answer, or None if all items were bad or stored.

    With ``--skip-bad`` an item that cannot be read or decoded moves from ``batch`` to ``bad``,
    items that the server has stored are taken out of ``batch``, and the rest is sent again. Raises
    Refused for any other invalid argument; its message has items' names, not their numbers.
    """
    while batch:
        try:
            return call(batch)
        except InvalidArgument as error:
            path = error.field_violations[0][0] if error.field_violations else ""
            at = ITEM.match(path)
            if at is None or not PICTURE.fullmatch(path) or not error.message.startswith(at[0]):
                raise named(error, batch, name) from None
            number = int(at[2])
            why = reason(error.message.removeprefix(path))
            if not options.skip_bad:
                raise Refused(f"{name(batch[number])} {why}.") from None
            bad[name(batch.pop(number))] = why
            del batch[: error.stored or 0]
    return None


def named(error: InvalidArgument, items: Sequence[Item], name: Callable[[Item], str]) -> Refused:
    """Return the refusal of a field of an item, with the item's name in place of its number."""
    at = ITEM.match(error.message)
    if at is None:
        return Refused(error.message)
    return Refused(name(items[int(at[2])]) + error.message.removeprefix(at[0]))


def reason(problem: str) -> str:
    """Return why a picture cannot be used, as a phrase that follows its name."""
    if problem.startswith(": "):  # by the client, which could not read it and adds the file's path
        return f"cannot be read: {problem.removeprefix(': ').partition(': ')[0]}"
    return problem.strip().rstrip(".")


def lines(bad: Mapping[str, str]) -> list[str]:
    """Return a line for each bad picture, or a single line if many have the same fault."""
    names = dict[str, list[str]]()
    for name, why in bad.items():
        names.setdefault(why, []).append(name)
    return [
        line
        for why, those in names.items()
        for line in (
            [f"{name} {why}." for name in those]
            if len(those) <= SHOWN_MAX
            else [f"{listed(those)}: each {why}."]
        )
    ]


def report(bad: Mapping[str, str], noun: str = "picture") -> None:
    """Print to standard error which pictures were left out, and why."""
    if bad:
        say(*lines(bad), f"{plural(len(bad), noun)} left out.", file=sys.stderr)
