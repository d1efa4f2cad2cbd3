"""Options that commands of ``visual-memory`` have in common."""

from __future__ import annotations

from argparse import ArgumentParser

from visual_memory.terminal.arguments import VOTINGS, Command, Commands, add, add_json, ask_server

FILTER = 'such as: label = "cat" AND metadata.source = "web"'


def add_asking(
    commands: Commands, name: str, command: Command, help: str, *, memory: bool = True
) -> ArgumentParser:
    """Add a command that calls a server, with its options and, if ``memory``, a memory's name."""
    parser = add(commands, name, help)
    if memory:
        parser.add_argument("name", metavar="NAME", help="the memory")
    ask_server(parser, command)
    add_json(parser)
    return parser


def add_apply(parser: ArgumentParser) -> None:
    """Add --apply."""
    parser.add_argument("--apply", action="store_true", help="do it; without it only show it")


def add_k(parser: ArgumentParser, neighbors: str) -> None:
    """Add --k; ``neighbors`` is a phrase for its help, such as ``neighbours that vote``."""
    parser.add_argument(
        "-k", "--k", metavar="K", type=int, default=50, help=f"{neighbors}; default: 50"
    )


def add_voting(parser: ArgumentParser) -> None:
    """Add --voting."""
    parser.add_argument("--voting", choices=VOTINGS, default="rank", help="default: rank")
