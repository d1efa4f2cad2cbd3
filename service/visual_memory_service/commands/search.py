"""``search``: find the entries nearest to pictures."""

from __future__ import annotations

from argparse import Namespace

from visual_memory import Client
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import print_json_array, print_table
from visual_memory_service.commands.classify import find_pictures, near_json, query_in_batches
from visual_memory_service.console.arguments import FILTER, add_asking, add_k, add_path
from visual_memory_service.pictures import bad_pictures


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "search", search, "find the entries nearest to pictures")
    add_path(parser, "images", "IMAGE", "also a folder", nargs="+")
    bad_pictures.add_skip_bad(parser, "searched for")
    add_k(parser, "neighbours")
    parser.add_argument("--filter", metavar="F", help=f"the entries that may be found, {FILTER}")


def search(client: Client, options: Namespace) -> int:
    """Print the nearest entries of each picture; return 1 if pictures were left out."""
    memory = client.memory(options.name)
    answered = query_in_batches(
        client,
        options,
        find_pictures(options),
        lambda images: memory.search(images=images, k=options.k, filter=options.filter),
    )
    if options.json:
        print_json_array(
            {"picture": str(path), "neighbors": [near_json(each) for each in neighbors]}
            for path, neighbors in answered.answers
        )
    else:
        print_table(
            ("picture", "rank", "id", "label", "distance"),
            [
                (path, rank, each.id, each.label, each.distance)
                for path, neighbors in answered.answers
                for rank, each in enumerate(neighbors, start=1)
            ],
        )
    bad_pictures.report(answered.bad)
    return 1 if answered.bad else 0
