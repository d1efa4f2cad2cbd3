"""Options that commands of ``visual-memory`` have in common."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _ActionsContainer
from typing import Any

from visual_memory.terminal import arguments as terminal
from visual_memory.terminal.arguments import HEADS, VOTINGS, Command, Commands

VOTES = ("k", "voting", "temperature", "balance")
RULE = (*VOTES, "head", "ridge", "head_temperature", "blend")
FILTER = 'such as: label = "cat" AND metadata.source = "web"'


def add_asking(
    commands: Commands, name: str, command: Command, help: str, *, memory: bool = True
) -> ArgumentParser:
    """Add a command that calls a server, with its options and, if ``memory``, a memory's name."""
    parser = terminal.add(commands, name, help)
    if memory:
        parser.add_argument("name", metavar="NAME", help="the memory")
    terminal.ask_server(parser, command)
    terminal.add_json(parser)
    return parser


def add_path(to: _ActionsContainer, name: str, metavar: str, help: str, **options: Any) -> None:
    """Add an argument that names a file or folder; if it is ``required``, the help says so."""
    needed = "; needed" if options.get("required") else ""
    kind = terminal.file_or_folder
    to.add_argument(name, metavar=metavar, type=kind, help=f"{help}{needed}", **options)


def add_apply(parser: ArgumentParser) -> None:
    """Add --apply."""
    parser.add_argument("--apply", action="store_true", help="do it; without it only show it")


def add_allow_missing(parser: ArgumentParser) -> None:
    """Add --allow-missing."""
    parser.add_argument("--allow-missing", action="store_true", help="skip unknown ids")


def add_rule(parser: ArgumentParser, neighbors: str) -> None:
    """Add the options of a decision rule; ``neighbors`` is as for ``add_k``.

    An option that is not given is None, so that the server decides.
    """
    add_k(parser, neighbors)
    parser.set_defaults(k=None)
    parser.add_argument("--voting", choices=VOTINGS, help="default: rank")
    parser.add_argument(
        "--temperature", metavar="T", type=float, help="that of softmax voting; default: 0.07"
    )
    parser.add_argument(
        "--balance",
        metavar="P",
        type=float,
        help="multiply each vote by the number of entries of its label to the power of -P, from 0 "
        "to 1, so that rare labels are heard; default: 0",
    )
    parser.add_argument(
        "--head",
        choices=HEADS,
        help="a classifier in closed form that decides with the votes; default: none",
    )
    parser.add_argument(
        "--ridge", metavar="R", type=float, help="that of discriminants; default: 1"
    )
    parser.add_argument(
        "--head-temperature",
        metavar="T",
        type=float,
        help="at which its scores become shares; default: 0.05",
    )
    parser.add_argument(
        "--blend",
        metavar="B",
        type=float,
        help="its part of each score, from 0 to 1, the votes the rest; default: 0.5",
    )


def rule(options: Namespace) -> dict[str, Any]:
    """Return the options that ``add_rule`` adds as arguments of ``Memory.classify``."""
    return {name: getattr(options, name) for name in RULE}


def shown_rule(options: Namespace) -> str:
    """Format the options of a rule that were given as `` (--k 20)``; nothing if none were."""
    given = terminal.flags(rule(options))
    return f" ({given})" if given else ""


def add_k(parser: ArgumentParser, neighbors: str) -> None:
    """Add --k; ``neighbors`` is a phrase for its help, such as ``neighbours that vote``."""
    parser.add_argument(
        "-k", "--k", metavar="K", type=int, default=50, help=f"{neighbors}; default: 50"
    )
