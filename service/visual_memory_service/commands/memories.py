"""``create``, ``list``, ``info`` and ``delete-memory``: memories."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from visual_memory import Client
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, print_table, printable, say, size
from visual_memory.terminal.refused import listed
from visual_memory.types import CalibrationState, MemoryInfo, UnlearnResult
from visual_memory_service.console.arguments import add_apply, add_asking, rule_flags, rule_of
from visual_memory_service.console.drift import sentence

LABELS_SHOWN = 20


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "create", create, "create a memory")
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--embedder", metavar="NAME", help="default: efficientnet-lite0")
    content.add_argument(
        "--dimension", metavar="N", type=int, help="of vectors, for a memory without an embedder"
    )
    parser.add_argument(
        "--store-images",
        action="store_true",
        help="store pictures as they are sent, with thumbnails",
    )
    add_asking(commands, "list", list_memories, "list all memories", memory=False)
    add_asking(commands, "info", info, "show a memory with its labels")
    parser = add_asking(
        commands, "delete-memory", delete_memory, "delete a memory with all its entries, at once"
    )
    add_apply(parser)


def create(client: Client, options: Namespace) -> None:
    """Create a memory for images, or for vectors of one dimension."""
    made = client.create_memory(
        options.name,
        embedder=options.embedder,
        dimension=options.dimension,
        store_images=options.store_images,
    ).info()
    if options.json:
        print_json(asdict(made))
    else:
        say(f"{made.name} remembers {content_of(made)}.")


def list_memories(client: Client, options: Namespace) -> None:
    """Print all memories, by name."""
    memories = client.memories()
    if options.json:
        print_json([asdict(each) for each in memories])
        return
    whole = [each for each in memories if not each.damage]
    headers = ("memory", "entries", "labels", "dimension", "embedder", "disk")
    print_table(
        headers,
        [
            (
                each.name,
                each.count,
                len(each.labels),
                each.dimension,
                each.embedder.name if each.embedder else "–",
                size(each.disk_bytes),
            )
            for each in whole
        ],
    )
    for each in memories:
        if each.damage:
            print(f"{each.name} cannot be used: {printable(each.damage)}")
        if each.calibration and each.drift and each.drift.drifting:
            say(f"{each.name}: {sentence(each.drift, stale=each.calibration.stale)}")


def info(client: Client, options: Namespace) -> None:
    """Print a memory with its labels."""
    found = client.memory(options.name).info()
    if options.json:
        print_json(asdict(found))
        return
    entries, labels = plural(found.count, "entry"), plural(len(found.labels), "label")
    disk = size(found.disk_bytes)
    say(f"{found.name} remembers {content_of(found)}: {entries} of {labels}, {disk}.")
    say(f"Created {printable(found.create_time)} UTC.")
    if found.pruned_count:
        say(f"Of the entries {found.pruned_count:,} are pruned and do not vote.")
    if found.originals == "disk":
        say("Its vectors are read from the disk; RAM holds codes of them.")
    say(f"Digest {found.digest}.")
    if found.reranker:
        say(f"Decisions ask the re-ranker {found.reranker}.")
    say(f"Decisions are by {rule_flags(rule_of(found))} where a call names nothing else.")
    if (default := found.default_rule) is not None:
        say(
            f"tune chose so on {printable(default.create_time)} UTC; writes that changed entries "
            f"since: {default.changes:,}."
        )
    if found.calibration:
        say(described(found.calibration))
        if found.drift and found.drift.count:
            say(sentence(found.drift, stale=found.calibration.stale))
    if found.labels:
        say("")
        print_table(("label", "entries"), list(found.labels.items())[:LABELS_SHOWN])
    if len(found.labels) > LABELS_SHOWN:
        say(f"… and {len(found.labels) - LABELS_SHOWN:,} more labels; --json shows all.")


def delete_memory(client: Client, options: Namespace) -> None:
    """Delete a memory with all its entries; without ``--apply`` only show what would go."""
    if not options.apply:
        show_deletion(client, options)
        return
    client.delete_memory(options.name)
    if options.json:
        print_json({"memory": options.name, "deleted": True})
    else:
        say(f"{options.name} is deleted, with all its entries.")


def show_deletion(client: Client, options: Namespace) -> None:
    """Print what deleting a memory, which may be damaged, would delete."""
    known = {each.name: each for each in client.memories()}
    found = known.get(options.name) or client.memory(options.name).info()  # raises NotFound
    operations = () if found.damage else client.operations(found.name)
    erasures = [each for each in operations if each.kind == "unlearn"]
    running = [each.name for each in erasures if each.state == "running"]
    results = [client.operation(each.name).result for each in erasures]  # not in lists
    certificates = sum(isinstance(each, UnlearnResult) and each.count > 0 for each in results)
    if options.json:
        counts = {"entries": found.count, "certificates": certificates, "not_ended": running}
        print_json({"memory": found.name, **counts, "deleted": False})
        return
    content = f"with {plural(found.count, 'entry')} of {plural(len(found.labels), 'label')}."
    if found.damage:
        content = f"which cannot be used: {found.damage}"
    say(f"{found.name} would be deleted, {content}")
    if certificates:
        say(
            f"With it would go {plural(certificates, 'certificate')} of erasure, and which ids "
            "were unlearned: save the certificates that you need."
        )
    if running:
        say(f"An erasure that has not ended would end without a certificate: {listed(running)}.")
    say("Nothing was deleted; add --apply to do it.")


def described(calibration: CalibrationState) -> str:
    """Describe a calibration: its time, the flags of the rule it is for, and edits since."""
    changed = "; entries were changed since" if calibration.stale else ""
    time = printable(calibration.create_time)
    return f"Calibrated {time} UTC for {rule_flags(calibration.rule)}{changed}."


def content_of(info: MemoryInfo) -> str:
    """Describe the content of a memory: images or vectors, their dimension, kept pictures."""
    kept = ", and keeps the pictures" if info.store_images else ""
    if info.embedder:
        return f"images as {info.embedder.name} sees them, in {info.dimension} dimensions{kept}"
    return f"vectors of {info.dimension} dimensions{kept}"
