"""``backup``, ``restore``, ``copy`` and ``reembed``: whole memories."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict

from visual_memory import Client, Unavailable
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import MEBIBYTE, plural, print_json, say, size
from visual_memory.terminal.progress import Progress
from visual_memory_service.console import files
from visual_memory_service.console.arguments import add_asking, add_path
from visual_memory_service.console.interrupted import report_made, report_running_operations


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "backup", backup, "back up a memory to a file, while the server runs"
    )
    add_path(parser, "file", "FILE", "the file to write")
    files.add_force(parser, "the file")
    parser = add_asking(
        commands,
        "restore",
        restore,
        "make a memory from a backup, without entries unlearned since",
        memory=False,
    )
    add_path(parser, "file", "FILE", "the backup")
    parser.add_argument("name", metavar="NAME", help="the new memory")
    parser = add_asking(commands, "copy", copy, "copy a memory, as it is now, to a new one")
    parser.add_argument("new", metavar="NEW", help="the new memory")
    parser = add_asking(
        commands,
        "reembed",
        reembed,
        "embed a memory's stored pictures with another embedder, while it serves",
    )
    parser.add_argument(
        "former", metavar="FORMER", help="a new memory, which has the former vectors at the end"
    )
    parser.add_argument(
        "--embedder", metavar="EMBEDDER", required=True, help="the new embedder; needed"
    )


def backup(client: Client, options: Namespace) -> None:
    """Write a memory to a file, which appears once it is complete."""
    path = options.file
    files.refuse(path, force=options.force)
    with Progress("MiB received") as progress:
        count = client.backup(
            options.name, path, overwrite=options.force, progress=in_mebibytes(progress)
        )
    if options.json:
        print_json({"memory": options.name, "file": str(path), "bytes": count})
    else:
        say(f"{options.name} is in {path}, {size(count)}.")


def restore(client: Client, options: Namespace) -> None:
    """Create a memory from a backup, without the entries that were unlearned since the backup."""
    with report_made(options.name), Progress("MiB sent") as progress:
        restored = client.restore(options.file, options.name, progress=in_mebibytes(progress))
    if options.json:
        print_json({**asdict(restored.info), "left_out": restored.left_out})
        return
    info = restored.info
    entries, labels = plural(info.count, "entry"), plural(len(info.labels), "label")
    say(f"{info.name} is restored from {options.file}: {entries} of {labels}.")
    say(f"Digest {info.digest}.")
    if restored.left_out:
        say(f"{plural(restored.left_out, 'entry')} left out: unlearned since the backup.")


def copy(client: Client, options: Namespace) -> None:
    """Create a memory with all current entries of another memory."""
    with report_made(options.new):
        info = client.copy(options.name, options.new).info()
    if options.json:
        print_json(asdict(info))
    else:
        say(f"{info.name} is a copy of {options.name}: {plural(info.count, 'entry')}.")


def reembed(client: Client, options: Namespace) -> None:
    """Embed a memory's stored pictures anew."""
    memory = client.memory(options.name)
    before = memory.info()
    try:
        with report_running_operations(client, options.name), Progress("pictures") as progress:
            done = memory.reembed(
                options.embedder, former_name=options.former, progress=progress.reach
            )
    except Unavailable:
        show = f"visual-memory operations --memory {options.name}"
        say(f"If it had begun, it goes on with the next server, see: {show}", file=sys.stderr)
        raise
    if options.json:
        print_json(asdict(done))
        return
    say(f"{options.name} has vectors of {done.embedder}: {plural(done.count, 'entry')}.")
    say(f"{done.former_name} has the former ones.")
    if before.calibration or before.default_rule:
        say("Its calibration and the rule of its tuning went with the former vectors.")


def in_mebibytes(progress: Progress) -> Callable[[int, int], None]:
    """Return a callback that is called with bytes (done, total), and shows them in MiB."""
    return lambda done, total: progress.reach(done // MEBIBYTE, total // MEBIBYTE)
