"""``data``: list and fetch datasets."""

from __future__ import annotations

import sys
from argparse import Namespace

from visual_memory.terminal.arguments import Commands, add, add_json
from visual_memory.terminal.output import print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory_benchmarks.commands.arguments import add_folder_of_data
from visual_memory_benchmarks.runs.tasks import place
from visual_memory_benchmarks.sources import data
from visual_memory_benchmarks.sources.sources import SOURCES


def add_to(commands: Commands) -> None:
    parser = add(commands, "data", "list and fetch sets of pictures")
    kinds = parser.add_subparsers(metavar="ACTION", required=True)
    parser = add(kinds, "list", "list the sets, and whether they are there")
    add_folder_of_data(parser)
    add_json(parser)
    parser.set_defaults(run=list_sets)
    parser = add(kinds, "get", "fetch a set, verify and unpack it; goes on after an interruption")
    parser.add_argument("name", metavar="NAME", help="of data list")
    add_folder_of_data(parser)
    parser.set_defaults(run=get)


def list_sets(options: Namespace) -> int:
    """Print every dataset with its terms, how to get it, and whether it is there."""
    rows = [
        {
            "name": name,
            "there": place(name, options.data) is not None,
            "fetched": source.fetched,
            "terms": source.terms,
            "layout": source.layout,
            "page": source.page,
        }
        for name, source in SOURCES.items()
    ]
    if options.json:
        print_json(rows)
        return 0
    print_table(
        ("name", "there", "comes", "terms", "layout", "page"),
        [
            (
                row["name"],
                "yes" if row["there"] else "no",
                "by data get" if row["fetched"] else "by hand",
                row["terms"],
                row["layout"],
                row["page"],
            )
            for row in rows
        ],
    )
    return 0


def get(options: Namespace) -> int:
    """Download, verify and unpack a dataset; return the exit code."""
    source = data.source(options.name)
    with Progress("bytes") as progress:
        notes = data.get(source, options.data, progress.reach)
    for note in notes:
        say(note, file=sys.stderr)
    say(f"{options.data / source.name} ({source.terms})")
    return 0
