"""``export``: write a memory to a Parquet file that ``insert`` reads."""

from __future__ import annotations

from argparse import Namespace

from visual_memory import Client, tables
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, say, size
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused
from visual_memory_service.console import files
from visual_memory_service.console.arguments import add_asking, add_path
from visual_memory_service.pictures import parquet

OTHERS = (".csv", ".tsv", ".json", ".jsonl")  # suffixes of other formats


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "export", export, "write a memory to a Parquet file")
    add_path(parser, "file", "FILE.parquet", "the file to write")
    files.add_force(parser, "the file")


def export(client: Client, options: Namespace) -> None:
    """Write all entries with vectors and pictures to a file, which appears once it is complete."""
    path = options.file
    if path.suffix.lower() in OTHERS:
        raise Refused(f"{path} would hold Parquet, which export writes; let it end in .parquet.")
    files.refuse(path, force=options.force)
    parquet.pyarrow()
    memory = client.memory(options.name)
    with Progress("entries") as progress:
        count = tables.export(memory, path, overwrite=options.force, progress=progress.reach)
    if options.json:
        print_json({"memory": options.name, "file": str(path), "entries": count})
    else:
        entries_written = plural(count, "entry")
        say(f"{entries_written} of {options.name} in {path}, {size(path.stat().st_size)}.")
