"""The options that commands of ``visual-memory`` have in common."""

from __future__ import annotations

from argparse import ArgumentParser

from visual_memory.terminal.arguments import Command, Commands, add, add_json, ask_server

FILTER = 'such as: label = "cat" AND metadata.source = "web"'


def add_asking(
    commands: Commands, name: str, command: Command, help: str, *, memory: bool = True
) -> ArgumentParser:
    """A command that asks a server."""
    parser = add(commands, name, help)
    if memory:
        parser.add_argument("name", metavar="NAME", help="the memory")
    ask_server(parser, command)
    add_json(parser)
    return parser


def add_apply(parser: ArgumentParser) -> None:
    """Do it, or only show it."""
    parser.add_argument("--apply", action="store_true", help="do it; without it only shows it")
