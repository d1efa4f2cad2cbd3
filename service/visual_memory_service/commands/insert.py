"""``insert``: a folder per class or a Parquet file becomes entries, and nothing is stored twice."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from visual_memory import Client, InvalidArgument, Memory
from visual_memory.types import Limits
from visual_memory_service.commands.output import plural, print_json
from visual_memory_service.commands.pictures import faults
from visual_memory_service.commands.progress import Progress
from visual_memory_service.commands.refused import Refused, listed
from visual_memory_service.commands.source import Item, Source, open_source, sha256

BATCH_ITEMS = 1024
BATCH_BYTES = 4 << 20  # some hundred pictures: progress moves, and a failed batch is soon repeated
AT_FAULT = re.compile(r"images\[(\d+)\]")
ITEM = re.compile(r"(?:entries|images|vectors)\[(\d+)\]")

Metadata = Mapping[str, str]
Stored = Mapping[str, tuple[str, str, Metadata]]


@dataclass(slots=True)
class Plan:
    """What is to be done with the items of a source, by id.

    ``changed`` items are stored otherwise; with each is its hash where only the content differs.
    ``kept`` are the stored metadata of changed items whose source has nothing to say of them.
    """

    new: set[str] = field(default_factory=set)
    changed: dict[str, str] = field(default_factory=dict)
    same: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Metadata] = field(default_factory=dict)

    def note(self, item: Item, label: str, content_sha256: str, metadata: Metadata) -> bool:
        """Compare an item with what is stored; whether they are the same.

        Metadata count where the source has some to say.
        """
        alike = item.label == label and item.metadata in (None, metadata)
        own = item.sha256() if alike else ""
        if own == content_sha256:
            self.same += 1
            return True
        self.changed[item.id] = own
        if item.metadata is None:
            self.kept[item.id] = metadata
        return False


def insert(client: Client, options: Namespace) -> int:
    """Store what is not stored yet; 1 where pictures were left out.

    Raises Refused before anything is stored: for ids stored with other content, without
    ``--replace``, and for pictures that do not decode, without ``--skip-bad``.
    """
    memory = client.memory(options.name)
    source = open_source(options.source, memory.info())
    limits = client.server_info().limits
    plan = compare(source, stored(memory), limits)
    if any(plan.changed.values()) and source.noun == "vector":
        forgive(plan, memory)
    refuse(plan, source.noun, options)
    todo = plan.new.union(plan.changed) - plan.bad.keys()
    with Progress(len(todo), f"{source.noun}s") as progress:
        items = (
            replace(item, metadata=plan.kept.get(item.id, item.metadata))
            for item in source.items()
            if item.id in todo
        )
        for batch in batches(items, batch_bytes(limits)):
            count = len(batch)
            plan.bad |= send(memory, batch, options)
            progress.add(count)
        seconds = progress.seconds
    report(plan, source.noun, seconds, options)
    return 1 if plan.bad else 0


def stored(memory: Memory) -> Stored:
    """Label, content and metadata of every entry, by id."""
    return {
        entry.id: (entry.label, entry.content_sha256, entry.metadata) for entry in memory.entries()
    }


def compare(source: Source, stored: Stored, limits: Limits) -> Plan:
    """Which items are new, stored already, stored otherwise, or not to be decoded."""
    plan, seen = Plan(), set[str]()
    with Progress(source.count, f"{source.noun}s checked") as progress:
        for batch in batches(source.items(), batch_bytes(limits)):
            unsure = []
            for item in batch:
                if item.id in seen:
                    raise Refused(f"The id {item.id} comes twice; nothing was stored.")
                seen.add(item.id)
                if item.id not in stored:
                    plan.new.add(item.id)
                elif plan.note(item, *stored[item.id]):
                    continue
                unsure.append(item)
            plan.bad |= bad(unsure, limits)
            progress.add(len(batch))
    return plan


def forgive(plan: Plan, memory: Memory) -> None:
    """Take rows that are the stored unit vectors, as an export has them, for the same."""
    for entry in memory.entries(include_vectors=True):
        own = plan.changed.get(entry.id)
        if own and entry.vector is not None and sha256(entry.vector) == own:
            del plan.changed[entry.id]
            plan.same += 1


def bad(items: list[Item], limits: Limits) -> dict[str, str]:
    """Why pictures do not decode, by id."""
    pictures = [(item.id, data) for item in items if isinstance(data := item.read(), bytes)]
    found = faults([data for _, data in pictures], limits)
    return {id: why for (id, _), why in zip(pictures, found, strict=True) if why}


def refuse(plan: Plan, noun: str, options: Namespace) -> None:
    """Raises Refused where the options do not allow to go on."""
    if plan.changed and not options.replace:
        raise Refused(
            f"Stored already with other content, label or metadata, so nothing was stored: "
            f"{listed(list(plan.changed))}; use --replace to replace what is stored."
        )
    if plan.bad and not options.skip_bad:
        raise Refused(
            f"{describe(plan.bad)}\nNothing was stored, because of {plural(len(plan.bad), noun)}; "
            "use --skip-bad to store the others."
        )


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


def send(memory: Memory, batch: list[Item], options: Namespace) -> dict[str, str]:
    """Store a batch; with ``--skip-bad`` without those that the server cannot decode, by id."""
    left_out: dict[str, str] = {}
    while batch:
        try:
            store(memory, batch, replace_existing=options.replace)
            break
        except InvalidArgument as error:
            at = AT_FAULT.match(error.field_violations[0][0] if error.field_violations else "")
            if not at or not options.skip_bad:
                raise Refused(with_ids(error.message, batch)) from None
            item = batch.pop(int(at[1]))
            left_out[item.id] = error.message.partition("] ")[2].rstrip(".") or error.message
    return left_out


def store(memory: Memory, batch: list[Item], *, replace_existing: bool) -> None:
    """One call for one batch."""
    contents = [item.read() for item in batch]
    images = [each for each in contents if isinstance(each, bytes)]
    vectors = [each for each in contents if not isinstance(each, bytes)]
    beside = [item.image for item in batch]
    memory.insert(
        images=images or (beside if any(beside) else None),
        vectors=np.stack(vectors) if vectors else None,
        ids=[item.id for item in batch],
        labels=[item.label for item in batch],
        metadata=[dict(item.metadata or {}) for item in batch],
        replace_existing=replace_existing,
    )


def with_ids(sentence: str, batch: list[Item]) -> str:
    """The server's sentence, with the item's id where it counts the batch."""
    return ITEM.sub(lambda found: batch[int(found[1])].id, sentence)


def describe(bad: Mapping[str, str]) -> str:
    """A line for each picture that cannot be used."""
    return "\n".join(f"{id} {why}." for id, why in bad.items())


def report(plan: Plan, noun: str, seconds: float, options: Namespace) -> None:
    """What was done, and what was left out."""
    replaced = len(plan.changed.keys() - plan.bad.keys())
    inserted = len(plan.new - plan.bad.keys())
    if options.json:
        print_json(
            {
                "memory": options.name,
                "inserted": inserted,
                "replaced": replaced,
                "skipped": plan.same,
                "bad": plan.bad,
                "seconds": round(seconds, 3),
            }
        )
    else:
        done = inserted + replaced
        also = f", {replaced:,} replaced" if replaced else ""
        rate = f" {seconds:.1f} s, {done / max(seconds, 1e-9):,.0f}/s." if done else ""
        print(
            f"{plural(inserted, noun)} inserted into {options.name}{also}, "
            f"{plan.same:,} there already.{rate}"
        )
    if plan.bad:
        count = plural(len(plan.bad), noun)
        print(f"{describe(plan.bad)}\n{count} left out.", file=sys.stderr)
