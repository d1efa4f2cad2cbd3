"""The command line: which commands there are, in the order of the help."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from visual_memory._terminal import arguments as terminal
from visual_memory_service import completion, demo
from visual_memory_service.commands import (
    accept,
    audit,
    backup,
    check,
    classify,
    entries,
    evaluate,
    export,
    hygiene,
    insert,
    memories,
    operations,
    reranker,
    search,
    serve,
    suspects,
    unlearn,
    verify,
)


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code. Raises Refused, visual_memory.Error."""
    return terminal.run(build_parser(), arguments)


def build_parser() -> ArgumentParser:
    """Every command with its options."""
    parser = terminal.program("visual-memory", "Classify images by remembering others.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    serve.add_to(commands)
    memories.add_to(commands)
    insert.add_to(commands)
    export.add_to(commands)
    backup.add_to(commands)
    classify.add_to(commands)
    evaluate.add_to(commands)
    search.add_to(commands)
    entries.add_to(commands)
    hygiene.add_to(commands)
    suspects.add_to(commands)
    operations.add_to(commands)
    audit.add_to(commands)
    check.add_to(commands)
    accept.add_to(commands)
    unlearn.add_to(commands)
    verify.add_to(commands)
    reranker.add_to(commands)
    demo.add_to(commands)
    completion.add_to(commands, parser)
    return parser
