"""``insert``: pictures or a Parquet file become entries, and nothing is stored twice."""

from __future__ import annotations

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from visual_memory import AlreadyExists, Client, Error, Memory, NotFound, PruneResult
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import Limits
from visual_memory_service.console.arguments import add_asking
from visual_memory_service.console.interrupted import told_what_goes_on, told_what_is_stored
from visual_memory_service.pictures import bad_pictures
from visual_memory_service.pictures.pictures import Unreadable, faults
from visual_memory_service.pictures.source import Item, Source, open_source, sha256

BATCH_ITEMS = 1024
BATCH_BYTES = 4 << 20  # some hundred pictures

Metadata = Mapping[str, str]
Stored = Mapping[str, tuple[str, str, Metadata, bool]]


@dataclass(slots=True)
class Plan:
    """What is to be done with the items of a source, by id.

    ``changed`` items are stored otherwise; ``relabelled`` has the stored and new labels of those
    where they differ. ``left`` ones are stored otherwise, too, and stay so. ``doubtful`` ones are
    the same if their row is the stored one; with each is the hash of its row. ``known`` are the
    stored metadata of items whose source has nothing to say of them. ``pruned`` do not vote in the
    source, ``silent`` as stored. ``unlearned`` were inserted though the memory was to unlearn them
    before.
    """

    new: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    relabelled: dict[str, tuple[str, str]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    doubtful: dict[str, str] = field(default_factory=dict)
    same: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    known: dict[str, Metadata] = field(default_factory=dict)
    pruned: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    unlearned: set[str] = field(default_factory=set)

    def note(
        self, item: Item, label: str, content_sha256: str, metadata: Metadata, silent: bool
    ) -> bool:
        """Compare an item with what is stored; whether it has no other picture than that.

        Metadata count where the source has some to say.
        """
        if silent:
            self.silent.add(item.id)
        alike = item.is_alike(label, metadata)
        equal = item.is_stored(label, content_sha256, metadata)
        if equal and not item.has_picture:
            self.same += 1
            return True
        if item.metadata is None:
            self.known[item.id] = metadata
        row = item.row_sha256() if alike else ""
        if row and (equal or item.image is None):
            self.doubtful[item.id] = row
            return True
        self.changed.add(item.id)
        if item.label != label:
            self.relabelled[item.id] = (label, item.label)
        return False

    def leave(self, ids: Iterable[str]) -> None:
        """Have entries stay as they are stored, whatever the source says of them."""
        self.left.update(ids)
        self.changed -= self.left

    def to_prune(self) -> list[str]:
        """Those that vote once all is stored, but must not."""
        stay = (self.silent - self.changed) | self.left | self.bad.keys()
        return sorted(self.pruned - stay)

    def relabelling(self, verb: str) -> str:
        """A sentence on the labels that replacing changes, empty where it changes none."""
        counts = Counter(self.new_labels().values())
        changes = [f"{n:,} from {old} to {new}" for (old, new), n in sorted(counts.items())]
        return f"That {verb} labels: {listed(changes)}." if changes else ""

    def new_labels(self) -> dict[str, tuple[str, str]]:
        """The stored and the new label of each of those that get another."""
        replaced = self.replaced
        return {id: labels for id, labels in sorted(self.relabelled.items()) if id in replaced}

    @property
    def replaced(self) -> set[str]:
        """Those that get other content, label or metadata."""
        return self.changed - self.bad.keys()


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "insert", insert, "remember pictures in folders or a CSV table, or a Parquet file"
    )
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description = (
        "Remember folders with a folder for each label (the label is its name, the id the path\n"
        "inside SOURCE); with --label, pictures and folders of pictures; a CSV table with the\n"
        "columns path and label, and perhaps id and others, which are metadata; or a Parquet file\n"
        "with the columns id, label and vector or image, and perhaps metadata. What is stored\n"
        "with the same content is skipped, so that the same command goes on after an\n"
        "interruption; an id stored otherwise is refused, but for --keep and --replace. A server\n"
        "that is restarted meanwhile is waited for until --timeout."
    )
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        type=Path,
        help="a folder, a CSV table or a Parquet file; with --label a picture or a folder of such",
    )
    parser.add_argument("--label", metavar="L", help="what all these pictures show")
    otherwise = parser.add_mutually_exclusive_group()
    otherwise.add_argument(
        "--keep",
        action="store_true",
        help="leave what is stored with other content, label or metadata as it is, and store what "
        "is new",
    )
    otherwise.add_argument(
        "--replace",
        action="store_true",
        help="replace what is stored with other content, label or metadata",
    )
    bad_pictures.add_skip_bad(parser, "stored")


def insert(client: Client, options: Namespace) -> int:
    """Store what is not stored yet; 1 where pictures were left out.

    Raises Refused before anything is stored: for ids stored with other content, without ``--keep``
    and ``--replace``, and for pictures that cannot be used, without ``--skip-bad``.
    """
    memory = client.memory(options.name)
    source = open_source(options.sources, options.label, memory.info())
    limits = client.server_info().limits
    if not options.json:
        bad_pictures.tell(source.others, source.remarks)
    plan = compare(source, stored(memory), limits)
    if plan.doubtful:
        settle(plan, memory)
    if options.keep:
        plan.leave(plan.changed - plan.bad.keys())
    refuse(plan, options)
    todo = plan.new.union(plan.changed) - plan.bad.keys()
    progress = Progress(f"{source.noun}s", len(todo))
    with told_what_is_stored(options.name, progress, len(todo)), progress:
        items = (
            replace(item, metadata=plan.known.get(item.id, item.metadata))
            for item in source.items()
            if item.id in todo
        )
        try:
            for group in groups(items):
                bad_pictures.send(
                    lambda items: store(memory, items, plan, progress, options),
                    group,
                    lambda item: item.id,
                    plan.bad,
                    options,
                )
        except (Error, Refused) as problem:
            if not progress.done:
                raise
            said = problem.message if isinstance(problem, Error) else problem
            gone = isinstance(problem, NotFound)
            raise Refused(str(said), so_far(progress.done, options, gone=gone)) from None
        finally:
            tell_of_unlearned(options.name, sorted(plan.unlearned))
        seconds = progress.seconds
    with told_what_goes_on(client, options.name):
        pruned = prune(memory, plan.to_prune())
    report(plan, source, seconds, pruned, options)
    return 1 if plan.bad else 0


def tell_of_unlearned(memory: str, ids: Sequence[str]) -> None:
    """Say on standard error which ids entries have now that were to be unlearned before."""
    if ids:
        ones = "1 of these ids was" if len(ids) == 1 else f"{len(ids):,} of these ids were"
        say(
            f"{ones} to be unlearned from {memory} before, stored then or not, and there are "
            f"such entries now: {listed(ids)}.",
            "Where that is not meant, take them out of the source, and unlearn them.",
            file=sys.stderr,
        )


def so_far(done: int, options: Namespace, *, gone: bool) -> str:
    """What became of the rest where something stopped it, also that the memory is gone."""
    if gone:
        return f"It was dropped meanwhile, with the {done:,} that were stored before."
    return f"The {done:,} before are stored in {options.name}; the same command goes on after them."


def stored(memory: Memory) -> Stored:
    """Label, content and metadata of every entry, and whether it is pruned, by id."""
    return {
        entry.id: (entry.label, entry.content_sha256, entry.metadata, bool(entry.pruned_by))
        for entry in memory.entries()
    }


def compare(source: Source, stored: Stored, limits: Limits) -> Plan:
    """Which items are new, stored already, stored otherwise, or not to be decoded."""
    plan, seen = Plan(bad=dict(source.bad)), set[str]()
    with Progress(f"{source.noun}s checked", source.count) as progress:
        for batch in batches(source.items(), batch_bytes(limits)):
            unsure = []
            for item in batch:
                if item.id in seen:
                    raise Refused(f"The id {item.id} comes twice; nothing was stored.")
                seen.add(item.id)
                if item.pruned:
                    plan.pruned.add(item.id)
                try:
                    if item.id in stored and plan.note(item, *stored[item.id]):
                        continue
                except Unreadable as error:
                    plan.bad[item.id] = error.why
                    continue
                if item.id not in stored:
                    plan.new.add(item.id)
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
    if plan.changed and not options.replace and not options.keep:
        ids = listed(sorted(plan.changed))
        said = (
            f"Stored already with other content, label or metadata, so nothing was stored: {ids}; "
            "use --keep to leave that as it is and store what is new, or --replace to replace it."
        )
        if options.label is not None:
            said = (
                "Stored already with other content, label or metadata, so nothing was stored: "
                f"{ids}. To have both, give them other ids: insert the folder above, with a folder "
                "for each label, into a new memory, or a CSV table with the column id. --keep "
                "leaves what is stored as it is and stores what is new, --replace replaces it."
            )
        raise Refused(f"{said} {plan.relabelling('changes')}".rstrip())
    bad_pictures.refuse(plan.bad, options, done="stored", do="store")


def batch_bytes(limits: Limits) -> int:
    """Content that fits one message with its ids, labels and metadata."""
    return min(BATCH_BYTES, limits.message_bytes // 4)


def batches(items: Iterable[Item], bytes_max: int) -> Iterator[list[Item]]:
    """Items in groups of so many bytes, read or not."""
    return grouped(items, lambda item: item.size, bytes_max)


def groups(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items in groups that RAM holds, all in one where they are files."""
    return grouped(items, lambda item: item.held_bytes, BATCH_BYTES)


def grouped(
    items: Iterable[Item], measure: Callable[[Item], int], bytes_max: int
) -> Iterator[list[Item]]:
    """Items in groups of at most so many bytes, and 1,024 that have any."""
    batch: list[Item] = []
    room, counted = bytes_max, 0
    for item in items:
        size = measure(item)
        if batch and (counted == BATCH_ITEMS or size > room):
            yield batch
            batch, room, counted = [], bytes_max, 0
        batch.append(item)
        room, counted = room - size, counted + (size > 0)
    if batch:
        yield batch


def store(
    memory: Memory, items: list[Item], plan: Plan, progress: Progress, options: Namespace
) -> None:
    """Have items stored; those are taken out that are there by now.

    So are batches that an earlier command sent before it ended, and with ``--keep`` what others
    stored otherwise meanwhile. Raises Refused where an id got other content without that.
    """
    while items:
        told = counting(progress)
        try:
            done = memory.insert(
                **columns(items), atomic=False, replace_existing=options.replace, progress=told
            )
            plan.unlearned.update(done.unlearned)
            return
        except AlreadyExists as error:
            del items[: error.stored or 0]
            there = stored(memory)
            known = [item for item in items if item.id in there]
            same = {item.id for item in known if item.is_stored(*there[item.id][:3])}
            others = {item.id for item in known} - same
            if not known or (others and not options.keep):
                raise
            plan.new -= same | others
            plan.same += len(same)
            plan.leave(others)
            progress.add(len(known))
            items[:] = [item for item in items if item.id not in there]


def counting(progress: Progress) -> Callable[[int, int], None]:
    """Tells progress of a call whose items are not the first."""
    before = progress.done
    return lambda done, total: progress.reach(before + done)


def columns(items: Sequence[Item]) -> dict[str, Any]:
    """What ``Memory.insert`` is told of them; files are read when they are sent."""
    contents = [item.content for item in items]
    images = [each for each in contents if isinstance(each, Path | bytes)]
    rows = [each for each in contents if not isinstance(each, Path | bytes)]
    beside = [item.image for item in items]
    return {
        "images": images or (None if beside.count(None) == len(items) else beside),
        "vectors": np.stack(rows) if rows else None,
        "ids": [item.id for item in items],
        "labels": [item.label for item in items],
        "metadata": [dict(item.metadata or {}) for item in items],
        "content_sha256": [item.image_sha256 for item in items] if rows else None,
    }


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
    replaced = len(plan.replaced)
    inserted = len(plan.new - plan.bad.keys())
    if options.json:
        print_json(
            {
                "memory": options.name,
                "inserted": inserted,
                "replaced": replaced,
                "relabelled": [
                    {"id": id, "was": was, "label": label}
                    for id, (was, label) in plan.new_labels().items()
                ],
                "skipped": plan.same,
                "kept": sorted(plan.left),
                "pruned": len(pruned.ids) if pruned else 0,
                "unlearned": sorted(plan.unlearned),
                "bad": plan.bad,
                "others": source.others,
                "remarks": source.remarks,
                "seconds": round(seconds, 3),
            }
        )
    else:
        done = inserted + replaced
        also = f", {replaced:,} replaced" if replaced else ""
        stay = f", {len(plan.left):,} kept as stored otherwise" if plan.left else ""
        rate = f" {seconds:.1f} s, {done / max(seconds, 1e-9):,.0f}/s." if done else ""
        say(
            f"{plural(inserted, source.noun)} inserted into {options.name}{also}, "
            f"{plan.same:,} there already{stay}.{rate}"
        )
        if changes := plan.relabelling("changed"):
            say(changes)
        if pruned:
            say(
                f"{plural(len(pruned.ids), 'entry')} pruned, as in {options.sources[0]}; "
                f"visual-memory undo {options.name} {pruned.operation}   takes it back."
            )
    bad_pictures.report(plan.bad, source.noun)
