"""``search``: the entries nearest to pictures."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from visual_memory import Client
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import print_json_array, print_table
from visual_memory_service.commands.classify import ask, near_json
from visual_memory_service.console.arguments import FILTER, add_asking
from visual_memory_service.pictures import bad_pictures, pictures


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "search", search, "find the entries nearest to pictures")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="also a folder")
    bad_pictures.add_skip_bad(parser, "asked")
    parser.add_argument(
        "-k", "--k", metavar="K", type=int, default=50, help="neighbours; default: 50"
    )
    parser.add_argument("--filter", metavar="F", help=f"who may be found, {FILTER}")


def search(client: Client, options: Namespace) -> int:
    """The nearest entries of each picture; 1 where some are left out."""
    memory = client.memory(options.name)
    asked = ask(
        client,
        options,
        pictures.look_at(options.images),
        lambda images: memory.search(images=images, k=options.k, filter=options.filter),
    )
    if options.json:
        print_json_array(
            {"picture": str(path), "neighbors": [near_json(each) for each in neighbors]}
            for path, neighbors in asked.answers
        )
    else:
        print_table(
            ("picture", "rank", "id", "label", "distance"),
            [
                (path, rank, each.id, each.label, each.distance)
                for path, neighbors in asked.answers
                for rank, each in enumerate(neighbors, start=1)
            ],
        )
    bad_pictures.report(asked.bad)
    return 1 if asked.bad else 0
