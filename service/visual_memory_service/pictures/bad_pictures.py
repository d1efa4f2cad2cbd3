"""Pictures that cannot be used: they stop a command before it does anything, or are left out."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from visual_memory import InvalidArgument
from visual_memory.terminal.output import plural, say
from visual_memory.terminal.refused import SHOWN_MAX, Refused, listed

AT_FAULT = re.compile(r"images\[(\d+)\]|entries\[(\d+)\]\.image")
PATH = re.compile(r"\S+\[\d+\]\S* ")
ITEM = re.compile(r"(?:entries|images|vectors)\[(\d+)\]")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def add_skip_bad(parser: ArgumentParser, done: str) -> None:
    """What happens to them; ``done`` is what is done with all others, such as ``stored``."""
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help=f"leave out pictures that cannot be used, and exit 1; without it nothing is {done}",
    )


def refuse(bad: Mapping[str, str], options: Namespace, *, done: str, do: str) -> None:
    """Raises Refused where there are bad ones that may not be skipped; ``bad`` has why, by name."""
    if bad and not options.skip_bad:
        raise Refused(
            *lines(bad),
            f"Nothing was {done}, because of {plural(len(bad), 'picture')}; "
            f"use --skip-bad to {do} the others.",
        )


def odd(others: Mapping[str, int], remarks: Iterable[str]) -> list[str]:
    """Sentences on files that are no pictures, by their ends, and the remarks."""
    ends = [f"{count:,} {end or 'without an end'}" for end, count in sorted(others.items())]
    return [*([f"Left out, as no pictures: {', '.join(ends)}."] if ends else []), *remarks]


def tell(others: Mapping[str, int], remarks: Iterable[str]) -> None:
    """Say them on standard error."""
    for sentence in odd(others, remarks):
        say(sentence, file=sys.stderr)


def send(
    call: Callable[[list[Item]], Answer],
    batch: list[Item],
    name: Callable[[Item], str],
    bad: dict[str, str],
    options: Namespace,
) -> Answer | None:
    """What ``call`` answers to a batch; None where none of it is left.

    With ``--skip-bad`` what the server cannot decode is taken out of ``batch``, with the leading
    ones that are stored, and ``bad`` says why, by name. Raises Refused, with names in place of
    numbers, for what else is wrong.
    """
    while batch:
        try:
            return call(batch)
        except InvalidArgument as error:
            at = AT_FAULT.match(error.field_violations[0][0] if error.field_violations else "")
            if not at or not options.skip_bad:
                named = ITEM.sub(lambda found: name(batch[int(found[1])]), error.message)
                raise Refused(named) from None
            item = batch.pop(int(at[1] or at[2]))
            bad[name(item)] = PATH.sub("", error.message, count=1).rstrip(".")
            del batch[: error.stored or 0]
    return None


def lines(bad: Mapping[str, str]) -> list[str]:
    """One for each of them, or for all that have the same fault where those are many."""
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
    """Say on standard error which were left out, and why."""
    if bad:
        say(*lines(bad), f"{plural(len(bad), noun)} left out.", file=sys.stderr)
