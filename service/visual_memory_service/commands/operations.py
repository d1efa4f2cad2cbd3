"""``undo`` and ``operations``: undo an operation, list operations, wait for one or cancel it."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from visual_memory import Client, Operation
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import WrongUsage
from visual_memory_service.console.arguments import (
    add_asking,
    calibration_hint,
    rule_flags,
    rule_of,
)


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "undo", undo, "undo a prune, a relabel or a tuning")
    parser.add_argument(
        "operation",
        metavar="OPERATION",
        help="its name, as visual-memory operations --memory NAME lists it",
    )
    parser = add_asking(
        commands,
        "operations",
        operations,
        "list operations, wait for one, or cancel it",
        memory=False,
    )
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=("wait", "cancel"),
        nargs="?",
        help="wait for an operation, or cancel it; default: list all",
    )
    parser.add_argument(
        "operation", metavar="ID", nargs="?", help="the name of the operation, as the list has it"
    )
    parser.add_argument("--memory", metavar="NAME", help="list the operations of one memory")


def undo(client: Client, options: Namespace) -> None:
    """Undo a prune, a relabel or a tuning."""
    memory = client.memory(options.name)
    restored = memory.undo(options.operation)
    if options.json:
        print_json({"memory": options.name, "restored": restored})
    elif client.operation(options.operation).kind == "tune":
        info = memory.info()
        say(f"{options.name} decides by {rule_flags(rule_of(info))} again, as before the tuning.")
        if hint := calibration_hint(info):
            say(hint)
    else:
        why = "" if restored else ": nothing was left to take back"
        relabelled = client.operation(options.operation).kind == "relabel"
        noun = "label" if relabelled else "entry"
        say(f"{plural(restored, noun)} restored in {options.name}{why}.")


def operations(client: Client, options: Namespace) -> int:
    """List operations, of all memories or of one, or wait for an operation, or cancel it."""
    if options.action:
        if options.operation is None:
            raise WrongUsage(f"the following arguments are required with {options.action}: ID")
        if options.memory is not None:
            raise WrongUsage("argument --memory: not allowed with argument ACTION")
        act = {"wait": wait, "cancel": Client.cancel}
        acted_on = act[options.action](client, options.operation)
        print_operations([acted_on], options)
        if acted_on.problem and not options.json:
            say(acted_on.problem)
        return int(options.action == "wait" and acted_on.state != "done")
    names = [options.memory]
    if not options.memory:
        names = [each.name for each in client.memories() if not each.damage]
    print_operations([each for name in names for each in client.operations(name)], options)
    return 0


def wait(client: Client, operation: str) -> Operation:
    """Wait until an operation has ended, and show progress."""
    estimate = client.operation(operation).kind != "unlearn"  # its steps take unequal times
    with Progress("steps", estimate=estimate) as progress:
        return client.wait(operation, progress=progress.reach)


def print_operations(found: list[Operation], options: Namespace) -> None:
    """Print operations, as a table or JSON."""
    if options.json:
        print_json([asdict(operation) for operation in found])
        return
    headers = ("operation", "kind", "state", "started (UTC)", "undone (UTC)")
    print_table(headers, [as_row(operation) for operation in found])


def as_row(operation: Operation) -> tuple[str, ...]:
    """Return name, kind, state with progress, start and time of the undo of an operation."""
    times = [
        time.strftime("%Y-%m-%d %H:%M:%S") if time else ""
        for time in (operation.create_time, operation.undo_time)
    ]
    state = operation.state
    if state == "running" and operation.total:
        state = f"running, {operation.done / operation.total:.0%}"
    return (operation.name, operation.kind, state, *times)
