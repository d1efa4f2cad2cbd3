"""``backup``, ``restore`` and ``copy``: all of a memory in a file, and in another memory."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from visual_memory import Client
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import MEBIBYTE, plural, print_json, say, size
from visual_memory.terminal.progress import Progress
from visual_memory_service.console import output_file
from visual_memory_service.console.arguments import add_asking


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "backup", backup, "write all of a memory to a file, while it serves"
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="what is written")
    output_file.add_force(parser, "the file")
    parser = add_asking(
        commands,
        "restore",
        restore,
        "make a backup a memory, without what was unlearned since",
        memory=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the backup")
    parser.add_argument("name", metavar="NAME", help="the memory to be")
    parser = add_asking(commands, "copy", copy, "make a memory that holds what another does now")
    parser.add_argument("new", metavar="NEW", help="the memory to be")


def backup(client: Client, options: Namespace) -> int:
    """Write all of a memory to a file, which appears when it is whole."""
    path = options.file
    output_file.refuse(path, force=options.force)
    with Progress("MiB received") as progress:
        count = client.backup(
            options.name, path, overwrite=options.force, progress=in_mebibytes(progress)
        )
    if options.json:
        print_json({"memory": options.name, "file": str(path), "bytes": count})
    else:
        say(f"{options.name} is in {path}, {size(count)}.")
    return 0


def restore(client: Client, options: Namespace) -> int:
    """Make a backup a memory, without the entries that were unlearned since."""
    with Progress("MiB sent") as progress:
        restored = client.restore(options.file, options.name, progress=in_mebibytes(progress))
    if options.json:
        print_json({**asdict(restored.info), "left_out": restored.left_out})
        return 0
    info = restored.info
    entries, labels = plural(info.count, "entry"), plural(len(info.labels), "label")
    say(f"{info.name} is restored from {options.file}: {entries} of {labels}.")
    say(f"Digest {info.digest}.")
    if restored.left_out:
        say(f"{plural(restored.left_out, 'entry')} left out: unlearned since the backup.")
    return 0


def copy(client: Client, options: Namespace) -> int:
    """Make a memory that holds what another does now."""
    info = client.copy(options.name, options.new).info()
    if options.json:
        print_json(asdict(info))
    else:
        say(f"{info.name} is a copy of {options.name}: {plural(info.count, 'entry')}.")
    return 0


def in_mebibytes(progress: Progress) -> Callable[[int, int], None]:
    """Show progress that is told in bytes."""
    return lambda done, total: progress.reach(done // MEBIBYTE, total // MEBIBYTE)
