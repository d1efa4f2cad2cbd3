"""The command line: its commands, in the order of the help."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from visual_memory.terminal import arguments as terminal
from visual_memory_benchmarks.commands import (
    experiments,
    metrics,
    neighbors,
    report,
    runs,
    sets,
    triplets,
)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return the exit code. Raises Refused, visual_memory.Error."""
    return terminal.run(build_parser(), arguments)


def build_parser() -> ArgumentParser:
    """Return the parser of every command with its options."""
    parser = terminal.program("visual-memory-bench", "Measure whether a memory sees as people do.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    runs.add_to(commands)
    metrics.add_to(commands)
    triplets.add_to(commands)
    neighbors.add_to(commands)
    experiments.add_to(commands)
    sets.add_to(commands)
    report.add_to(commands)
    return parser
