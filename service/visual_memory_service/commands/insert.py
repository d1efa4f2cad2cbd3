"""``insert``: a folder per class or a Parquet file becomes entries, and nothing is stored twice."""

from __future__ import annotations

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from visual_memory import Client, Error, Memory, PruneResult
from visual_memory._terminal.arguments import Commands
from visual_memory._terminal.output import plural, print_json, say
from visual_memory._terminal.progress import Progress
from visual_memory._terminal.refused import Refused, listed
from visual_memory.types import Limits
from visual_memory_service.commands import bad_pictures
from visual_memory_service.commands.arguments import add_asking
from visual_memory_service.commands.interrupted import told_what_goes_on
from visual_memory_service.commands.pictures import faults
from visual_memory_service.commands.source import Item, Source, open_source, sha256

BATCH_ITEMS = 1024
BATCH_BYTES = 4 << 20  # some hundred pictures: progress moves, and a failed batch is soon repeated

Metadata = Mapping[str, str]
Stored = Mapping[str, tuple[str, str, Metadata, bool]]


@dataclass(slots=True)
class Plan:
    """What is to be done with the items of a source, by id.

    ``changed`` items are stored otherwise. ``doubtful`` ones are the same if their row is the
    stored one; with each is the hash of its row. ``kept`` are the stored metadata of items whose
    source has nothing to say of them. ``pruned`` do not vote in the source, ``silent`` as stored.
    """

    new: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    doubtful: dict[str, str] = field(default_factory=dict)
    same: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Metadata] = field(default_factory=dict)
    pruned: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)

    def note(
        self, item: Item, label: str, content_sha256: str, metadata: Metadata, silent: bool
    ) -> bool:
        """Compare an item with what is stored; whether it has no other picture than that.

        Metadata count where the source has some to say.
        """
        if silent:
            self.silent.add(item.id)
        alike = item.label == label and item.metadata in (None, metadata)
        equal = alike and item.sha256() == content_sha256
        if equal and item.image is None:
            self.same += 1
            return True
        if item.metadata is None:
            self.kept[item.id] = metadata
        row = item.row_sha256() if alike else ""
        if row and (equal or item.image is None):
            self.doubtful[item.id] = row
            return True
        self.changed.add(item.id)
        return False

    def to_prune(self) -> list[str]:
        """Those that vote once all is stored, but must not."""
        return sorted(self.pruned - (self.silent - self.changed) - self.bad.keys())


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "insert", insert, "remember a folder per class, or a Parquet file"
    )
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description = (
        "Remember a folder per class (the label is the folder's name, the id the path inside\n"
        "FOLDER), or a Parquet file with the columns id, label and vector or image, and perhaps\n"
        "metadata. What is stored with the same content is skipped, so that the same command\n"
        "goes on after an interruption; an id stored with other content is refused."
    )
    parser.add_argument("source", metavar="FOLDER_OR_PARQUET", type=Path)
    parser.add_argument(
        "--replace", action="store_true", help="replace what is stored with other content"
    )
    bad_pictures.add_skip_bad(parser, "stored")


def insert(client: Client, options: Namespace) -> int:
    """Store what is not stored yet; 1 where pictures were left out.

    Raises Refused before anything is stored: for ids stored with other content, without
    ``--replace``, and for pictures that do not decode, without ``--skip-bad``.
    """
    memory = client.memory(options.name)
    source = open_source(options.source, memory.info())
    limits = client.server_info().limits
    if source.others and not options.json:
        ends = ", ".join(
            f"{count:,} {end or 'without an end'}" for end, count in sorted(source.others.items())
        )
        say(f"Left out, as no pictures: {ends}.", file=sys.stderr)
    plan = compare(source, stored(memory), limits)
    if plan.doubtful:
        settle(plan, memory)
    refuse(plan, options)
    todo = plan.new.union(plan.changed) - plan.bad.keys()
    with Progress(f"{source.noun}s", len(todo)) as progress:
        items = (
            replace(item, metadata=plan.kept.get(item.id, item.metadata))
            for item in source.items()
            if item.id in todo
        )
        done = 0
        for batch in batches(items, batch_bytes(limits)):
            count = len(batch)
            try:
                bad_pictures.send(
                    lambda items: store(memory, items, replace_existing=options.replace),
                    batch,
                    lambda item: item.id,
                    plan.bad,
                    options,
                )
            except (Error, Refused) as problem:
                if not done:
                    raise
                raise Refused(str(problem), so_far(done, options)) from None
            done += count
            progress.add(count)
        seconds = progress.seconds
    with told_what_goes_on(client, options.name):
        pruned = prune(memory, plan.to_prune())
    report(plan, source, seconds, pruned, options)
    return 1 if plan.bad else 0


def so_far(done: int, options: Namespace) -> str:
    """What became of the rest where something stopped it."""
    return f"The {done:,} before are stored in {options.name}; the same command goes on after them."


def stored(memory: Memory) -> Stored:
    """Label, content and metadata of every entry, and whether it is pruned, by id."""
    return {
        entry.id: (entry.label, entry.content_sha256, entry.metadata, bool(entry.pruned_by))
        for entry in memory.entries()
    }


def compare(source: Source, stored: Stored, limits: Limits) -> Plan:
    """Which items are new, stored already, stored otherwise, or not to be decoded."""
    plan, seen = Plan(), set[str]()
    with Progress(f"{source.noun}s checked", source.count) as progress:
        for batch in batches(source.items(), batch_bytes(limits)):
            unsure = []
            for item in batch:
                if item.id in seen:
                    raise Refused(f"The id {item.id} comes twice; nothing was stored.")
                seen.add(item.id)
                if item.pruned:
                    plan.pruned.add(item.id)
                if item.id not in stored:
                    plan.new.add(item.id)
                elif plan.note(item, *stored[item.id]):
                    continue
                unsure.append(item)
            plan.bad |= bad(unsure, limits)
            progress.add(len(batch))
    return plan


def settle(plan: Plan, memory: Memory) -> None:
    """Compare the rows of what is doubtful with the stored ones."""
    for entry in memory.entries(include_vectors=True):
        own = plan.doubtful.pop(entry.id, None)
        if own is None or entry.vector is None:
            continue
        if sha256(entry.vector) == own:
            plan.same += 1
        else:
            plan.changed.add(entry.id)
    plan.new.update(plan.doubtful)  # they went meanwhile


def bad(items: list[Item], limits: Limits) -> dict[str, str]:
    """Why pictures do not decode, by id."""
    pictures = [(item.id, data) for item in items if (data := item.picture) is not None]
    found = faults([data for _, data in pictures], limits)
    return {id: why for (id, _), why in zip(pictures, found, strict=True) if why}


def refuse(plan: Plan, options: Namespace) -> None:
    """Raises Refused where the options do not allow to go on."""
    if plan.changed and not options.replace:
        raise Refused(
            f"Stored already with other content, label or metadata, so nothing was stored: "
            f"{listed(sorted(plan.changed))}; use --replace to replace what is stored."
        )
    bad_pictures.refuse(plan.bad, options, done="stored", do="store")


def batch_bytes(limits: Limits) -> int:
    """Content that fits one message with its ids, labels and metadata."""
    return min(BATCH_BYTES, limits.message_bytes // 4)


def batches(items: Iterable[Item], bytes_max: int) -> Iterator[list[Item]]:
    """Items in groups that fit one message."""
    batch: list[Item] = []
    room = bytes_max
    for item in items:
        if batch and (len(batch) == BATCH_ITEMS or item.size > room):
            yield batch
            batch, room = [], bytes_max
        batch.append(item)
        room -= item.size
    if batch:
        yield batch


def store(memory: Memory, batch: list[Item], *, replace_existing: bool) -> None:
    """One call for one batch."""
    contents = [item.read() for item in batch]
    images = [each for each in contents if isinstance(each, bytes)]
    vectors = [each for each in contents if not isinstance(each, bytes)]
    beside = [item.image for item in batch]
    memory.insert(
        images=images or (None if beside.count(None) == len(batch) else beside),
        vectors=np.stack(vectors) if vectors else None,
        ids=[item.id for item in batch],
        labels=[item.label for item in batch],
        metadata=[dict(item.metadata or {}) for item in batch],
        replace_existing=replace_existing,
    )


def prune(memory: Memory, ids: list[str]) -> PruneResult | None:
    """Take the votes of the entries that did not vote where the source is from."""
    if not ids:
        return None
    with Progress("entries looked at") as progress:
        return memory.prune(method="ids", ids=ids, apply=True, progress=progress.reach)


def report(
    plan: Plan, source: Source, seconds: float, pruned: PruneResult | None, options: Namespace
) -> None:
    """What was done, and what was left out."""
    replaced = len(plan.changed - plan.bad.keys())
    inserted = len(plan.new - plan.bad.keys())
    if options.json:
        print_json(
            {
                "memory": options.name,
                "inserted": inserted,
                "replaced": replaced,
                "skipped": plan.same,
                "pruned": len(pruned.ids) if pruned else 0,
                "bad": plan.bad,
                "others": source.others,
                "seconds": round(seconds, 3),
            }
        )
    else:
        done = inserted + replaced
        also = f", {replaced:,} replaced" if replaced else ""
        rate = f" {seconds:.1f} s, {done / max(seconds, 1e-9):,.0f}/s." if done else ""
        say(
            f"{plural(inserted, source.noun)} inserted into {options.name}{also}, "
            f"{plan.same:,} there already.{rate}"
        )
        if pruned:
            say(
                f"{plural(len(pruned.ids), 'entry')} pruned, as in {options.source}; "
                f"visual-memory undo {options.name} {pruned.operation}   takes it back."
            )
    bad_pictures.report(plan.bad, source.noun)
