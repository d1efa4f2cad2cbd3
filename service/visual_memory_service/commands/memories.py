"""``create``, ``list``, ``show`` and ``drop``: whole memories."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from visual_memory import Client
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, print_table, printable, say, size
from visual_memory.types import MemoryInfo
from visual_memory_service.console.arguments import add_asking

LABELS_SHOWN = 20


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "create", create, "make a memory")
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--embedder", metavar="NAME", help="default: efficientnet-lite0")
    content.add_argument(
        "--dimension", metavar="N", type=int, help="for a memory that takes vectors only"
    )
    parser.add_argument(
        "--store-images",
        action="store_true",
        help="keep the pictures as they are sent, with thumbnails",
    )
    add_asking(commands, "list", list_memories, "list all memories", memory=False)
    add_asking(commands, "show", show, "show one memory with its labels")
    add_asking(commands, "drop", drop, "forget a memory with all its entries, at once")


def create(client: Client, options: Namespace) -> int:
    """Make a memory, by embedder or by dimension."""
    info = client.create_memory(
        options.name,
        embedder=options.embedder,
        dimension=options.dimension,
        store_images=options.store_images,
    ).info()
    if options.json:
        print_json(asdict(info))
    else:
        say(f"{info.name} remembers {what(info)}.")
    return 0


def list_memories(client: Client, options: Namespace) -> int:
    """All memories, by name."""
    infos = client.memories()
    if options.json:
        print_json([asdict(info) for info in infos])
        return 0
    whole = [info for info in infos if not info.damage]
    headers = ("memory", "entries", "labels", "dimension", "embedder", "disk")
    print_table(
        headers,
        [
            (
                info.name,
                info.count,
                len(info.labels),
                info.dimension,
                info.embedder.name if info.embedder else "–",
                size(info.disk_bytes),
            )
            for info in whole
        ],
    )
    for info in infos:
        if info.damage:
            print(f"{info.name} cannot be asked: {printable(info.damage)}")
    return 0


def show(client: Client, options: Namespace) -> int:
    """One memory with its labels."""
    info = client.memory(options.name).info()
    if options.json:
        print_json(asdict(info))
        return 0
    entries, labels = plural(info.count, "entry"), plural(len(info.labels), "label")
    say(f"{info.name} remembers {what(info)}: {entries} of {labels}, {size(info.disk_bytes)}.")
    say(f"Created {printable(info.create_time)}.")
    if info.pruned_count:
        say(f"Of the entries {info.pruned_count:,} are pruned and do not vote.")
    say(f"Digest {info.digest}.")
    if info.reranker:
        say(f"Decisions ask the re-ranker {info.reranker}.")
    if info.labels:
        say("")
        print_table(("label", "entries"), list(info.labels.items())[:LABELS_SHOWN])
    if len(info.labels) > LABELS_SHOWN:
        say(f"… and {len(info.labels) - LABELS_SHOWN:,} more labels; --json shows all.")
    return 0


def drop(client: Client, options: Namespace) -> int:
    """Forget a memory with all it holds."""
    client.delete_memory(options.name)
    if options.json:
        print_json({"memory": options.name, "dropped": True})
    else:
        say(f"{options.name} is forgotten, with all its entries.")
    return 0


def what(info: MemoryInfo) -> str:
    """What goes into a memory."""
    kept = ", and keeps the pictures" if info.store_images else ""
    if info.embedder:
        return f"images as {info.embedder.name} sees them, in {info.dimension} dimensions{kept}"
    return f"vectors of {info.dimension} dimensions{kept}"
