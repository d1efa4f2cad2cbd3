"""``audit``: list or verify the audit log of a memory."""

from __future__ import annotations

from argparse import Namespace
from collections import deque
from dataclasses import asdict

from visual_memory import Client
from visual_memory.terminal.arguments import Commands, natural
from visual_memory.terminal.output import plural, print_json, print_json_array, print_table, say
from visual_memory_service.console.arguments import add_asking

SHOWN = 20


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "audit", audit, "list the writes to a memory, or verify its audit log"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--limit",
        metavar="N",
        type=natural,
        help=f"show the last N events; default: {SHOWN}, with --json all",
    )
    what.add_argument(
        "--verify",
        action="store_true",
        help="check instead that no event was changed, left out or put in",
    )


def audit(client: Client, options: Namespace) -> None:
    """Print the last events of a memory's audit log, or with ``--verify`` check the whole log."""
    memory = client.memory(options.name)
    if options.verify:
        head = memory.verify_audit_log()
        if options.json:
            print_json({"memory": options.name} | asdict(head))
            return
        whole = plural(head.size, "event")
        say(f"The audit log of {options.name} is whole: {whole} lead to the memory as it is.")
        print_table(("", ""), [("root", head.root), ("last", head.last), ("digest", head.digest)])
    elif options.json:
        every = memory.audit_events()
        last = every if options.limit is None else deque(every, options.limit)
        print_json_array(asdict(event) for event in last)
    else:
        limit = SHOWN if options.limit is None else options.limit
        events = deque(memory.audit_events(), limit)
        rows = [
            (each.number, each.time, each.principal, each.call, each.count, each.digest)
            for each in events
        ]
        print_table(("event", "time (UTC)", "principal", "call", "entries", "digest after"), rows)
        if events and events[0].number:
            shown, count = plural(len(events), "event"), events[-1].number + 1
            say(f"The last {shown} of {count:,} of {options.name}; --json shows all.")
