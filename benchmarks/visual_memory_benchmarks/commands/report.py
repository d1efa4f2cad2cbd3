"""``report``: write one page of all results."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from visual_memory.terminal.arguments import Commands, add, file_or_folder
from visual_memory.terminal.output import say
from visual_memory.terminal.refused import Refused
from visual_memory_benchmarks.commands.arguments import add_folder_of_data, add_out
from visual_memory_benchmarks.report.page import write

PEOPLE = "human_responses"


def add_to(commands: Commands) -> None:
    parser = add(commands, "report", "write one page of all results, with plots")
    add_folder_of_data(parser)
    add_out(parser)
    parser.add_argument(
        "--page",
        metavar="DIR",
        type=file_or_folder,
        default=Path("docs"),
        help="where results.md and its pictures go; default: docs",
    )
    parser.set_defaults(run=report)


def report(options: Namespace) -> int:
    """Write the page with its pictures, from the results of runs and experiments.

    Raises Refused if there are none.
    """
    if not options.out.is_dir():
        raise Refused(f"There are no results in {options.out}; name their folder with --out.")
    say(str(write(options.out, options.data / PEOPLE, options.page)))
    return 0
