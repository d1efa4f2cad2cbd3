"""The command line ``visual-memory``: its commands, in the order of the help."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType

from visual_memory.terminal import arguments as terminal

# Only the module of the command that is run is loaded: all of them take longer than most runs.
COMMANDS = MappingProxyType(
    {
        "commands.serve": ("serve",),
        "commands.memories": ("create", "list", "info", "delete-memory"),
        "commands.insert": ("insert",),
        "commands.export": ("export",),
        "commands.backup": ("backup", "restore", "copy", "reembed"),
        "commands.classify": ("classify",),
        "commands.evaluate": ("evaluate",),
        "commands.search": ("search",),
        "commands.entries": ("entries", "update", "delete", "purge"),
        "commands.curation": ("prune", "relabel"),
        "commands.assess": ("assess",),
        "commands.calibrate": ("calibrate",),
        "commands.tune": ("tune",),
        "commands.operations": ("undo", "operations"),
        "commands.audit": ("audit",),
        "commands.check": ("check",),
        "commands.accept": ("accept",),
        "commands.unlearn": ("unlearn", "signing-keys"),
        "commands.keys": ("keys",),
        "commands.verify": ("verify",),
        "commands.reranker": ("reranker",),
        "commands.explorer": ("explorer",),
        "commands.label_studio": ("label-studio",),
        "demo.story": ("demo",),
    }
)
ALIKE = 0.85  # of what is mistyped and the command that is meant; "remember" is not "reembed"


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code. Raises Refused, visual_memory.Error."""
    parser = build_parser(needed(arguments))
    check_command(parser, arguments)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # while all was loaded
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return terminal.run(parser, arguments)


def check_command(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """End with the usage if the first argument is nearly a command or an option, and none."""
    commands = [name for names in COMMANDS.values() for name in names]
    names = [*commands, "completion", "--help", "--version"]
    for first in arguments[:1]:
        if first not in names:
            for near in get_close_matches(first, names, 1, ALIKE):
                kind = "option" if first.startswith("-") else "command"
                parser.error(f"there is no {kind} {first}; did you mean {near}?")


def needed(arguments: Sequence[str]) -> Iterable[str]:
    """Return the module of the command, by name, or all if the first argument is no command."""
    first = arguments[0] if arguments else ""
    if first == "--version":
        return ()
    return [module for module, names in COMMANDS.items() if first in names] or COMMANDS


def build_parser(modules: Iterable[str] = COMMANDS) -> ArgumentParser:
    """Create a parser with the commands of these modules."""
    parser = terminal.program("visual-memory", "Classify images by remembering others.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in modules:
        import_module(f"visual_memory_service.{module}").add_to(commands)
    if modules is COMMANDS:
        from visual_memory_service import completion

        completion.add_to(commands, parser)
    return parser
