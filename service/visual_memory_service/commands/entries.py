"""``entries``, ``update``, ``delete`` and ``purge``: the entries of a memory."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from visual_memory import Client
from visual_memory.terminal.arguments import Commands, natural
from visual_memory.terminal.output import plural, print_json, print_json_array, print_table, say
from visual_memory.terminal.refused import WrongUsage, listed
from visual_memory.types import Entry
from visual_memory_service.console.arguments import FILTER, add_allow_missing, add_apply, add_asking
from visual_memory_service.console.files import print_ids
from visual_memory_service.pictures import bad_pictures

COLUMNS = ("id", "label", "created (UTC)", "metadata", "pruned by")
ROWS = 1000  # rows that share the widths of columns


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "entries", entries, "list the entries of a memory")
    parser.add_argument("--filter", metavar="F", help=FILTER)
    parser.add_argument("--limit", metavar="N", type=natural, help="list the first N")
    parser.add_argument(
        "--ids", action="store_true", help="list ids alone, one a line, as --ids-file reads them"
    )
    parser = add_asking(commands, "update", update, "change the label or the metadata of an entry")
    parser.add_argument("--id", metavar="ID", required=True, help="the id of the entry; needed")
    parser.add_argument("--label", metavar="LABEL", help="its new label")
    metadata = parser.add_mutually_exclusive_group()
    metadata.add_argument(
        "--metadata",
        metavar="KEY=VALUE",
        type=pair,
        action="append",
        help="its new metadata, in place of all it had: keys not given are removed; repeatable",
    )
    metadata.add_argument(
        "--no-metadata",
        dest="metadata",
        action="store_const",
        const=(),
        help="remove all its metadata",
    )
    parser = add_asking(commands, "delete", delete, "delete entries by id, all or none")
    parser.add_argument(
        "--id",
        metavar="ID",
        nargs="+",
        action="extend",
        required=True,
        help="the ids of the entries; needed",
    )
    add_allow_missing(parser)
    parser = add_asking(commands, "purge", purge, "delete the entries that match a filter")
    parser.add_argument("--filter", metavar="F", required=True, help=f"{FILTER}; needed")
    add_apply(parser)


def entries(client: Client, options: Namespace) -> None:
    """Print the entries that match the filter, by id."""
    if options.ids and options.json:
        raise WrongUsage("argument --ids: not allowed with argument --json")
    memory = client.memory(options.name)
    found = islice(memory.entries(filter=options.filter), options.limit)
    if options.json:
        print_json_array(map(as_json, found))
        return
    printed = print_ids(entry.id for entry in found) if options.ids else print_entries(found)
    if not printed and options.limit != 0:
        say(f"0 of {memory.info().count:,} entries match.", file=sys.stderr)


def print_entries(found: Iterator[Entry]) -> int:
    """Print entries as a table, and return their number."""
    printed, headers = 0, COLUMNS
    while rows := list(islice(found, ROWS)):
        print_table(headers if not printed else ("",) * len(headers), map(as_row, rows))
        printed += len(rows)
    return printed


def update(client: Client, options: Namespace) -> None:
    """Set the label or metadata of one entry, or both."""
    if options.label is None and options.metadata is None:
        raise WrongUsage("one of the arguments --label --metadata --no-metadata is required")
    metadata = None if options.metadata is None else dict(options.metadata)
    memory = client.memory(options.name)
    entry = memory.update(options.id, label=options.label, metadata=metadata)
    if options.json:
        print_json(as_json(entry))
        return
    print_table(COLUMNS, [as_row(entry)])
    if options.label is not None:
        from visual_memory_service.pictures.pictures import alike  # which loads PIL

        bad_pictures.report_remarks({}, alike([options.label], memory.info().labels))


def delete(client: Client, options: Namespace) -> None:
    """Delete entries by id, all or none."""
    memory = client.memory(options.name)
    deleted = memory.delete(options.id, allow_missing=options.allow_missing)
    if options.json:
        print_json({"memory": options.name, "deleted": deleted})
    else:
        say(f"{plural(deleted, 'entry')} deleted from {options.name}.")


def purge(client: Client, options: Namespace) -> None:
    """Delete the entries that match a filter; without ``--apply`` only show which."""
    result = client.memory(options.name).purge(filter=options.filter, apply=options.apply)
    if options.json:
        print_json({"memory": options.name} | asdict(result))
    elif result.applied:
        say(f"{plural(result.count, 'entry')} deleted from {options.name}.")
    else:
        sample = f": {listed(result.sample_ids, result.count)}" if result.sample_ids else ""
        say(f"{plural(result.count, 'entry')} would be deleted from {options.name}{sample}.")
        say("Nothing was deleted; add --apply to do it.")


def as_row(entry: Entry) -> Sequence[object]:
    """Return id, label, creation time, metadata and pruning operation of an entry."""
    metadata = ", ".join(f"{key}={value}" for key, value in entry.metadata.items())
    return entry.id, entry.label, entry.create_time, metadata, entry.pruned_by


def as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry without its vector as JSON values."""
    return {
        "id": entry.id,
        "label": entry.label,
        "metadata": entry.metadata,
        "create_time": entry.create_time,
        "content_sha256": entry.content_sha256,
        "pruned_by": entry.pruned_by,
    }


def pair(text: str) -> tuple[str, str]:
    """Split ``KEY=VALUE`` into (key, value). Raises ArgumentTypeError if it has another form."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"must be KEY=VALUE, but is {text!r}")
    return key, value
