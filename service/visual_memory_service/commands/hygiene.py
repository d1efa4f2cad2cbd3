"""``prune``, ``relabel``, ``undo`` and ``operations``: what misleads, and taking that back."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from visual_memory import Client, Operation, PruneResult
from visual_memory._terminal.output import plural, print_json, print_table
from visual_memory._terminal.progress import Progress
from visual_memory._terminal.refused import Refused, listed
from visual_memory_service.commands.ids_file import read_ids, read_text

LABELS_SHOWN = 10


def prune(client: Client, options: Namespace) -> int:
    """Take the votes of entries that mislead; without ``--apply`` only show whose."""
    with Progress("entries looked at") as progress:
        result = client.memory(options.name).prune(
            method="ids" if options.ids_file else options.method,
            ids=read_ids(options.ids_file) if options.ids_file else None,
            k=options.k,
            threshold=options.threshold,
            minus_correct=options.minus_correct,
            fraction=options.fraction,
            clusters=options.clusters,
            keep=options.keep,
            value_k=options.value_k,
            seed=options.seed,
            apply=options.apply,
            progress=progress.reach,
        )
    if options.json:
        print_json(asdict(result))
    else:
        print_prune(result, options.name)
    return 0


def print_prune(result: PruneResult, memory: str) -> None:
    """Whose votes are taken, for people."""
    one = len(result.ids) == 1
    verb = "would no longer vote"
    if result.applied:
        verb = "no longer votes" if one else "no longer vote"
    shown = f": {listed(result.ids)}" if result.ids else ""
    print(f"{plural(len(result.ids), 'entry')} {verb} in {memory}{shown}.")
    if result.ids:
        print_table(("label", "entries"), list(result.labels.items())[:LABELS_SHOWN])
        if len(result.labels) > LABELS_SHOWN:
            print(f"and {len(result.labels) - LABELS_SHOWN} more labels")
    before, after = result.accuracy_before, result.accuracy_after
    print(f"Of all entries the others decide {before:.2%} rightly; without those {after:.2%}.")
    if result.applied:
        print(f"visual-memory undo {memory} {result.operation}   takes it back.")
    elif result.ids:
        print("Nothing was changed; add --apply to do it.")


def relabel(client: Client, options: Namespace) -> int:
    """Set the labels that a CSV file gives; without ``--apply`` only show which would change."""
    labels = read_labels(options.from_file)
    result = client.memory(options.name).relabel(labels, apply=options.apply)
    if options.json:
        print_json(asdict(result))
        return 0
    verb = "would have"
    if result.applied:
        verb = "has" if len(result.ids) == 1 else "have"
    shown = f": {listed(result.ids)}" if result.ids else ""
    print(f"{plural(len(result.ids), 'entry')} {verb} another label in {options.name}{shown}.")
    if result.applied and result.ids:
        print(f"visual-memory undo {options.name} {result.operation}   takes it back.")
    elif result.ids:
        print("Nothing was changed; add --apply to do it.")
    return 0


def read_labels(file: Path) -> dict[str, str]:
    """The columns id and label of a CSV file; rows without a label are left out. Raises Refused."""
    rows = csv.DictReader(io.StringIO(read_text(file), newline=""))
    labels: dict[str, str] = {}
    try:
        missing = {"id", "label"} - set(rows.fieldnames or ())
        if missing:
            raise Refused(f"{file} has no column named {' and none named '.join(sorted(missing))}.")
        for row in rows:
            id, label = row["id"], row["label"]
            if not id:
                raise Refused(f"{file}, line {rows.line_num}: the id is empty.")
            if label and labels.setdefault(id, label) != label:
                raise Refused(
                    f"{file}, line {rows.line_num}: {id} is there twice, with other labels."
                )
    except csv.Error as problem:
        raise Refused(f"{file}, line {rows.line_num}: {problem}.") from None
    if not labels:
        raise Refused(f"{file} gives no entry a label.")
    return labels


def undo(client: Client, options: Namespace) -> int:
    """Take back a prune or a relabel."""
    restored = client.memory(options.name).undo(options.operation)
    if options.json:
        print_json({"memory": options.name, "restored": restored})
    else:
        print(f"{plural(restored, 'entry')} restored in {options.name}.")
    return 0


def operations(client: Client, options: Namespace) -> int:
    """List the operations of one memory or all, or wait for one, or stop it."""
    if options.action:
        if options.operation is None:
            raise Refused(f"operations {options.action} needs the name of an operation.")
        act: dict[str, Callable[[str], Operation]] = {"wait": client.wait, "cancel": client.cancel}
        acted_on = act[options.action](options.operation)
        print_operations([acted_on], options)
        return int(options.action == "wait" and acted_on.state != "done")
    names = [options.memory] if options.memory else [each.name for each in client.memories()]
    print_operations([each for name in names for each in client.operations(name)], options)
    return 0


def print_operations(found: list[Operation], options: Namespace) -> None:
    """Operations, for people or programs."""
    if options.json:
        print_json([as_json(operation) for operation in found])
        return
    headers = ("operation", "kind", "state", "begun", "undone")
    print_table(headers, [as_row(operation) for operation in found])


def as_json(operation: Operation) -> dict[str, object]:
    """An operation as JSON."""
    fields = asdict(operation)
    for name in ("create_time", "end_time", "undo_time"):
        time = getattr(operation, name)
        fields[name] = time.isoformat() if time else None
    return fields


def as_row(operation: Operation) -> tuple[str, ...]:
    """An operation as a row of a table."""
    times = [
        time.strftime("%Y-%m-%d %H:%M:%S") if time else ""
        for time in (operation.create_time, operation.undo_time)
    ]
    state = operation.state
    if state == "running" and operation.total:
        state = f"running, {operation.done / operation.total:.0%}"
    return (operation.name, operation.kind, state, *times)
