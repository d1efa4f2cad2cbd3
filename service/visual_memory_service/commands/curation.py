"""``prune`` and ``relabel``: take votes from entries that mislead, or correct their labels."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from visual_memory import Client, Memory, MemoryInfo, PruneResult
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused, WrongUsage, listed
from visual_memory_service.console.arguments import add_apply, add_asking, add_path, rule_of
from visual_memory_service.console.files import read_ids, read_text
from visual_memory_service.console.interrupted import report_running_operations
from visual_memory_service.pictures import bad_pictures

LABELS_SHOWN = 10
LISTED_PER_GET = 32  # entries that are listed in the time in which one is asked for


class Option(NamedTuple):
    """An option of ``prune``: the methods that take it, its help, and arguments for argparse."""

    methods: tuple[str, ...]
    help: str
    kind: Mapping[str, Any]


K, N = {"metavar": "K", "type": int}, {"metavar": "N", "type": int}
# One that is not given is None, and gets the client's default.
OPTIONS = {
    "k": Option(("hard",), "nearest neighbours among which an entry misleads; default: 100", K),
    "threshold": Option(("hard",), "prune entries that mislead at least so often; default: 128", N),
    "minus_correct": Option(
        ("hard",),
        "subtract how often an entry helps from how often it misleads",
        {"action": "store_true", "default": None},
    ),
    "fraction": Option(
        ("prototype", "value", "random"),
        "the share to prune, between 0 and 1; needed",
        {"metavar": "F", "type": float},
    ),
    "value_k": Option(("value",), "nearest neighbours that count; default: 5", K),
    "clusters": Option(
        ("prototype",),
        "number of clusters, found without labels; default: a mean for each label",
        N,
    ),
    "keep": Option(
        ("prototype",),
        "keep the entries near (easy) or far from (hard) prototypes; default: easy",
        {"choices": ("easy", "hard")},
    ),
    "seed": Option(("prototype", "random"), "seed of random numbers; default: 0", N),
}


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "prune", prune, "take away the votes of entries that mislead, until undone"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--method",
        choices=("hard", "prototype", "value", "random"),
        default="hard",
        help="hard: entries that often mislead; prototype: by distance to cluster centres; value: "
        "the lowest KNN-Shapley values; random; default: hard",
    )
    add_path(
        how,
        "--ids-file",
        "FILE",
        "prune the ids in this file instead, one a line; -: standard input",
    )
    for name, option in OPTIONS.items():
        flags = ["-k", "--k"] if name == "k" else [f"--{name.replace('_', '-')}"]
        help = f"{', '.join(option.methods)}: {option.help}"
        parser.add_argument(*flags, help=help, **option.kind)
    add_apply(parser)
    parser = add_asking(commands, "relabel", relabel, "set labels from a CSV file, until undone")
    add_path(
        parser,
        "--from",
        "FILE.csv",
        "the columns id and label; rows without a label are skipped; -: standard input",
        dest="from_file",
        required=True,
    )
    add_apply(parser)


def prune(client: Client, options: Namespace) -> None:
    """Take away the votes of entries that a method or file names; without ``--apply`` list them."""
    how = parameters(options)
    if options.ids_file:
        how["ids"] = read_ids(options.ids_file)
    with Progress("steps") as progress, report_running_operations(client, options.name):
        result: PruneResult = client.memory(options.name).prune(
            **how, apply=options.apply, progress=progress.reach
        )
    if options.json:
        print_json(asdict(result))
    else:
        print_prune(result, client.memory(options.name).info())


def parameters(options: Namespace) -> dict[str, Any]:
    """Return the method of ``prune`` and its settings, as arguments of ``Memory.prune``.

    Raises WrongUsage if the method needs an option that is missing, or does not take a given
    option.
    """
    method = "ids" if options.ids_file else options.method
    chosen = "--ids-file" if options.ids_file else f"--method {method}"
    given = {name: value for name in OPTIONS if (value := getattr(options, name)) is not None}
    for name in given:
        if method not in OPTIONS[name].methods:
            flag = name.replace("_", "-")
            meant = ", whose neighbours are --value-k" if (name, method) == ("k", "value") else ""
            raise WrongUsage(f"argument --{flag}: not allowed with argument {chosen}{meant}")
    if method in OPTIONS["fraction"].methods and "fraction" not in given:
        raise WrongUsage(f"the following arguments are required with {chosen}: --fraction")
    return {"method": method, **given}


def print_prune(result: PruneResult, info: MemoryInfo) -> None:
    """Print which entries were pruned or, without ``--apply``, would be."""
    memory, measured = info.name, "k = 50, rank"
    if rule_of(info) != rule_of(replace(info, default_rule=None)):
        measured += ", not as it is tuned"
    one = len(result.ids) == 1
    verb = "would no longer vote"
    if result.applied:
        verb = "no longer votes" if one else "no longer vote"
    shown = f": {listed(result.ids)}" if result.ids else ""
    say(f"{plural(len(result.ids), 'entry')} {verb} in {memory}{shown}.")
    if result.ids:
        print_table(("label", "entries"), list(result.labels.items())[:LABELS_SHOWN])
        if len(result.labels) > LABELS_SHOWN:
            say(f"and {len(result.labels) - LABELS_SHOWN} more labels")
    before, after = result.accuracy_before, result.accuracy_after
    say(
        f"The others give {before:.2%} of all entries their label ({measured}); without those "
        f"{after:.2%}{', which is worse' if after < before else ''}."
    )
    voting = info.count - info.pruned_count
    if voting == (0 if result.applied else len(result.ids)):
        say(f"No entry {'votes' if result.applied else 'would vote'} any more: nothing is decided.")
    if result.applied and result.ids:
        say(f"visual-memory undo {memory} {result.operation}   takes it back.")
    elif result.ids:
        say("Nothing was changed; add --apply to do it.")


def relabel(client: Client, options: Namespace) -> None:
    """Set labels from a CSV file; without ``--apply`` only show which would change."""
    from visual_memory_service.commands.insert import relabelling  # these two load PIL
    from visual_memory_service.pictures.pictures import alike

    labels = read_labels(options.from_file)
    memory = client.memory(options.name)
    if options.json:
        print_json(asdict(memory.relabel(labels, apply=options.apply)))
        return
    result, left = memory.relabel(labels), Counter(memory.info().labels)
    before = labels_of(memory, result.ids, left.total())
    verb = "would have"
    if options.apply:
        result = memory.relabel(labels, apply=True)
        verb = "has" if len(result.ids) == 1 else "have"
    shown = f": {listed(result.ids)}" if result.ids else ""
    say(f"{plural(len(result.ids), 'entry')} {verb} another label in {options.name}{shown}.")
    changes = [(before[id], labels[id]) for id in result.ids if id in before]
    if changes:
        say(relabelling(changes, "changed" if result.applied else "would change"))
    given = {new for _, new in changes}
    if unknown := sorted(given - left.keys()):
        say(f"Labels new to {options.name}: {listed(unknown)}.")
    left -= Counter(old for old, _ in changes)
    bad_pictures.report_remarks({}, alike(given, left))
    if result.applied and result.ids:
        say(f"visual-memory undo {options.name} {result.operation}   takes it back.")
    elif result.ids:
        say("Nothing was changed; add --apply to do it.")


def labels_of(memory: Memory, ids: Collection[str], count: int) -> dict[str, str]:
    """Return labels by id, of ``ids`` or, where listing is faster, of all ``count`` entries."""
    if len(ids) > count / LISTED_PER_GET:
        return {entry.id: entry.label for entry in memory.entries()}
    return {id: memory.get(id).label for id in ids}


def read_labels(file: Path) -> dict[str, str]:
    """Read a CSV file with columns id and label; return labels by id, without rows of empty label.

    Raises Refused if a column is missing, a row is invalid, or no row has a label.
    """
    table = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    labels: dict[str, str] = {}
    line = 1  # where the next row begins
    try:
        names = next(table, [])
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Refused(f"{file} has more than one column {listed(twice)}.")
        missing = {"id", "label"} - set(names)
        if missing:
            raise Refused(
                f"{file} has no column named {' and none named '.join(sorted(missing))}. "
                "Wanted are id and label, separated by commas."
            )
        line = table.line_num + 1
        for cells in table:
            place, line = f"{file}, line {line}", table.line_num + 1
            row = dict(zip(names, cells, strict=False))
            id, label = row.get("id", ""), row.get("label", "")
            if len(cells) > len(names):
                raise Refused(
                    f"{place} has more cells than the first line has columns; "
                    "put a label with commas in quotes."
                )
            if cells and not id:
                raise Refused(f"{place}: the id is empty.")
            if label and not label.strip():
                raise Refused(
                    f"{place}: the label of {id} is only blanks; leave it empty to skip the row."
                )
            if label and labels.setdefault(id, label) != label:
                raise Refused(f"{place}: {id} is there twice, with other labels.")
    except csv.Error as problem:
        raise Refused(f"{file}, line {line}: {problem}.") from None
    if not labels:
        raise Refused(f"{file} gives no entry a label.")
    return labels
