"""Options that commands of ``visual-memory`` have in common."""

from __future__ import annotations

from argparse import ArgumentParser, _ActionsContainer
from typing import Any

from visual_memory.terminal import arguments as terminal
from visual_memory.terminal.arguments import VOTINGS, Command, Commands

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


def add_k(parser: ArgumentParser, neighbors: str) -> None:
    """Add --k; ``neighbors`` is a phrase for its help, such as ``neighbours that vote``."""
    parser.add_argument(
        "-k", "--k", metavar="K", type=int, default=50, help=f"{neighbors}; default: 50"
    )


def add_voting(parser: ArgumentParser) -> None:
    """Add --voting."""
    parser.add_argument("--voting", choices=VOTINGS, default="rank", help="default: rank")
