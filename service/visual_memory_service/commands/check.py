"""``check``: compare memories with their digests and audit logs, on a server or in a folder."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from visual_memory import Client
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused
from visual_memory_service.console import server_libraries
from visual_memory_service.console.arguments import add_asking, add_path
from visual_memory_service.console.interrupted import report_running_operations

NOUNS = "entries and events"


@dataclass(frozen=True, slots=True)
class Found:
    """The result of checking one memory; ``problem`` is the damage and the remedy, or None."""

    memory: str
    entry_count: int = 0
    event_count: int = 0
    digest: str = ""
    problem: str | None = None


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands,
        "check",
        check,
        "check that entries, vectors, digest and audit log of memories fit each other",
        memory=False,
    )
    on_server = parser.get_default("run")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("name", metavar="NAME", nargs="?", help="a memory of the server")
    add_path(what, "--data", "DIR", "all memories of a data folder that no server uses")
    parser.set_defaults(
        run=lambda options: check_folder(options) if options.data else on_server(options)
    )


def check(client: Client, options: Namespace) -> None:
    """Have the server check a memory. Raises Error if the memory is damaged."""
    with Progress(NOUNS) as progress, report_running_operations(client, options.name):
        result = client.memory(options.name).check(progress=progress.reach)
    found = Found(options.name, result.entry_count, result.event_count, result.digest)
    if options.json:
        print_json(asdict(found))
    else:
        print_found(found)


def check_folder(options: Namespace) -> int:
    """Check all memories in a server's data folder; return 1 if any is damaged, else 0.

    Raises Refused if the folder cannot be used, or a server uses it.
    """
    found = []
    for each in in_folder(options.data):
        found.append(each)
        if not options.json:
            print_found(each)
    if options.json:
        print_json([asdict(each) for each in found])
    elif not found:
        say(f"{options.data} holds no memory.")
    return int(any(each.problem for each in found))


def in_folder(folder: Path) -> Iterator[Found]:
    """Check the memories of a folder one by one, and yield the result of each.

    Raises Refused if the folder is no data folder of a server, or a server uses it.
    """
    server_libraries.need("checking a data folder")
    from visual_memory_index import Catalog, was_used
    from visual_memory_index.errors import MemoryRefusal, in_full

    if not (folder / "catalog.sqlite").is_file() and not was_used(folder):
        raise Refused(f"{folder} is no data folder of a server: it has no catalog.sqlite.")
    try:
        catalog = Catalog(folder)
    except MemoryRefusal as refusal:
        raise Refused(in_full(refusal)) from None
    with closing(catalog):
        for name in catalog.names():
            try:
                with closing(catalog.open(name)) as memory, Progress(f"{NOUNS} of {name}") as at:
                    checked = memory.check(at.reach)
                yield Found(name, checked.entry_count, checked.event_count, checked.digest)
            except MemoryRefusal as refusal:
                yield Found(name, problem=in_full(refusal))


def print_found(found: Found) -> None:
    """Print the result of a check as one line."""
    if found.problem:
        say(f"{found.memory}: {found.problem}")
    else:
        entries = plural(found.entry_count, "entry")
        events = plural(found.event_count, "audit event")
        say(f"{found.memory}: {entries} and {events} fit the digest {found.digest}.")
