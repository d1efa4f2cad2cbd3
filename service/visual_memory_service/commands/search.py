"""``search``: the entries nearest to pictures."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from visual_memory import Client
from visual_memory._terminal.arguments import Commands
from visual_memory._terminal.output import print_json_array, print_table
from visual_memory_service.commands import pictures
from visual_memory_service.commands.arguments import FILTER, add_asking
from visual_memory_service.commands.classify import ask, near_json


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "search", search, "find the entries nearest to pictures")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="also a folder")
    parser.add_argument("--k", metavar="K", type=int, default=50, help="neighbours; default: 50")
    parser.add_argument("--filter", metavar="F", help=f"who may be found, {FILTER}")


def search(client: Client, options: Namespace) -> int:
    """The nearest entries of each picture."""
    memory = client.memory(options.name)
    answers = ask(
        lambda images: memory.search(images=images, k=options.k, filter=options.filter),
        pictures.named(options.images),
    )
    if options.json:
        print_json_array(
            {"picture": str(path), "neighbors": [near_json(each) for each in neighbors]}
            for path, neighbors in answers
        )
        return 0
    print_table(
        ("picture", "rank", "id", "label", "distance"),
        [
            (path, rank, each.id, each.label, each.distance)
            for path, neighbors in answers
            for rank, each in enumerate(neighbors, start=1)
        ],
    )
    return 0
