"""``insert``: store pictures or the rows of a Parquet file as entries, each once."""

from __future__ import annotations

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from visual_memory import (
    AlreadyExists,
    Client,
    Error,
    InvalidArgument,
    Memory,
    NotFound,
    PruneResult,
)
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.entries import check_entries
from visual_memory.terminal.output import plural, print_json, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import Entry, Limits
from visual_memory_service.console.arguments import add_asking, add_path
from visual_memory_service.console.interrupted import report_running_operations, report_stored
from visual_memory_service.pictures import bad_pictures
from visual_memory_service.pictures.item import Item, sha256
from visual_memory_service.pictures.pictures import Unreadable, faults
from visual_memory_service.pictures.source import Source, open_source

BATCH_ITEMS = 1024
BATCH_BYTES = 4 << 20  # some hundred pictures


@dataclass(slots=True)
class Plan:
    """The plan of an insertion: ids of items, grouped by their state.

    ``new`` items are not stored yet. ``changed`` items are stored with other content, label or
    metadata; ``relabelled`` maps an id to its (stored, new) label, ``other_content`` items have
    another picture, or the stored label and metadata with another vector. ``kept`` items differ
    too, but stay as stored. ``same`` counts the items stored already, which are skipped.
    ``unsure_rows`` maps an id to the hash of its vector, to be compared with the stored one. If a
    source gives no metadata, ``stored_metadata`` maps an id to the metadata of its stored entry,
    which a replacement keeps. ``pruned`` items do not vote in the source, ``pruned_here`` items do
    not in the memory. ``unlearned`` items were inserted although they had been unlearned. ``bad``
    maps an id to the reason why its item cannot be used.
    """

    new: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    relabelled: dict[str, tuple[str, str]] = field(default_factory=dict)
    other_content: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    unsure_rows: dict[str, str] = field(default_factory=dict)
    same: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    stored_metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    pruned: set[str] = field(default_factory=set)
    pruned_here: set[str] = field(default_factory=set)
    unlearned: set[str] = field(default_factory=set)

    def note(self, item: Item, entry: Entry) -> bool:
        """Compare an item with the stored entry of the same id, and record the result in the plan.

        Metadata are compared only if the source has some. Returns False if the item changes the
        entry, so that its picture must still be checked, else True.
        """
        if entry.pruned_by:
            self.pruned_here.add(item.id)
        alike = item.is_alike(entry)
        equal = item.is_stored(entry)
        if equal and not item.has_picture:
            self.same += 1
            return True
        if item.metadata is None:
            self.stored_metadata[item.id] = entry.metadata
        row = item.row_sha256() if alike else ""
        if row and (equal or item.image is None):
            self.unsure_rows[item.id] = row
            return True
        is_picture = item.picture is not None or item.image_sha256  # a row may be of another length
        if is_picture and item.sha256() != entry.content_sha256:
            self.other_content.add(item.id)
        self.changed.add(item.id)
        if item.label != entry.label:
            self.relabelled[item.id] = (entry.label, item.label)
        return False

    def keep(self, ids: Iterable[str]) -> None:
        """Leave entries as they are stored: move their ids from ``changed`` to ``kept``."""
        self.kept.update(ids)
        self.changed -= self.kept

    def to_prune(self) -> list[str]:
        """Return the ids to prune after the insertion, because they are pruned in the source."""
        stay = (self.pruned_here - self.changed) | self.kept | self.bad.keys()
        return sorted(self.pruned - stay)

    def new_labels(self) -> dict[str, tuple[str, str]]:
        """Return (stored label, new label) by id, for the replaced items whose label changes."""
        replaced = self.replaced
        return {id: labels for id, labels in sorted(self.relabelled.items()) if id in replaced}

    def new_contents(self) -> list[str]:
        """Return the ids of the replaced items that have other content, ascending."""
        return sorted(self.other_content & self.replaced)

    @property
    def replaced(self) -> set[str]:
        """Return the ids of items that get other content, label or metadata."""
        return self.changed - self.bad.keys()


def relabelling(changes: Iterable[tuple[str, str]], verb: str) -> str:
    """Return ``That VERB labels: …`` with the count of each (old, new) label; empty without any."""
    counts = Counter(changes)
    lines = [f"{n:,} from {old} to {new}" for (old, new), n in sorted(counts.items())]
    return f"That {verb} labels: {listed(lines)}." if lines else ""


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "insert", insert, "store pictures in folders or a CSV table, or a Parquet file"
    )
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description = (
        "Insert folders with a folder for each label (the label is its name, the id the path\n"
        "inside SOURCE); with --label, pictures and folders of pictures; a CSV table with the\n"
        "columns path and label, optionally id, and others as metadata; or a Parquet file with\n"
        "the columns id, label and vector or image, optionally metadata. What is stored\n"
        "with the same content is skipped, so that the same command resumes after an\n"
        "interruption. An id stored with other content needs --keep or --replace. A server\n"
        "that restarts meanwhile is waited for, up to --timeout."
    )
    add_path(
        parser,
        "sources",
        "SOURCE",
        "a folder, a CSV table or a Parquet file; with --label a picture or a folder of such",
        nargs="+",
    )
    parser.add_argument("--label", metavar="L", help="the label of all these pictures")
    otherwise = parser.add_mutually_exclusive_group()
    otherwise.add_argument(
        "--keep",
        action="store_true",
        help="keep entries stored with other content, label or metadata, and store what is new",
    )
    otherwise.add_argument(
        "--replace",
        action="store_true",
        help="replace entries stored with other content, label or metadata",
    )
    bad_pictures.add_skip_bad(parser, "stored")


def insert(client: Client, options: Namespace) -> int:
    """Store items that are not stored yet; return 1 if any were left out, or unlearned before.

    Raises Refused before anything is stored if items differ from stored entries, unless ``--keep``
    or ``--replace`` is given, or if pictures cannot be used, unless ``--skip-bad`` is given.
    """
    if options.label == "":
        raise Refused("The label is empty; say with --label what the pictures show.")
    memory = client.memory(options.name)
    source = open_source(options.sources, options.label, memory.info())
    limits = client.server_info().limits
    if not options.json:
        bad_pictures.report_remarks(source.others, source.remarks)
    plan = compare(source, stored(memory), limits)
    if plan.unsure_rows:
        compare_vectors(plan, memory)
    if options.keep:
        plan.keep(plan.changed - plan.bad.keys())
    refuse(plan, options)
    todo = plan.new.union(plan.changed) - plan.bad.keys()
    progress = Progress(f"{source.noun}s", len(todo))
    with report_stored(options.name, progress, len(todo)), progress:
        items = (
            replace(item, metadata=plan.stored_metadata.get(item.id, item.metadata))
            for item in source.items()
            if item.id in todo
        )
        try:
            # Each group fits into RAM; files, which are read when sent, form one group.
            for group in grouped(items, attrgetter("held_bytes"), BATCH_BYTES):
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
            report_unlearned(options.name, sorted(plan.unlearned))
        seconds = progress.seconds
    with report_running_operations(client, options.name):
        pruned = prune(memory, plan.to_prune())
    report(plan, source, seconds, pruned, options)
    return 1 if plan.bad or plan.unlearned else 0


def report_unlearned(memory: str, ids: Sequence[str]) -> None:
    """Print to standard error which of the inserted ids were unlearned before."""
    if ids:
        ones = "1 entry is" if len(ids) == 1 else f"{len(ids):,} entries are"
        say(
            f"{ones} stored now under ids that were to be unlearned from {memory} before: "
            f"{listed(ids)}.",
            "Where that is meant, leave them; where not, take them out of the source, and unlearn "
            "them. The exit code 1 asks you to look.",
            file=sys.stderr,
        )


def so_far(done: int, options: Namespace, *, gone: bool) -> str:
    """Return a sentence on the ``done`` items stored before an error, for its message.

    If ``gone`` is True, the memory was deleted meanwhile, and these items with it.
    """
    if gone:
        return f"It was deleted meanwhile, with the {done:,} that were stored before."
    return f"The {done:,} before are stored in {options.name}; the same command goes on after them."


def stored(memory: Memory) -> dict[str, Entry]:
    """Return all entries by id, without vectors."""
    return {entry.id: entry for entry in memory.entries()}


def compare(source: Source, stored: Mapping[str, Entry], limits: Limits) -> Plan:
    """Compare the source with the stored entries.

    Raises Refused if an id comes twice, or an item has another field that the server would refuse.
    """
    plan, seen = Plan(bad=dict(source.bad)), set[str]()
    with Progress(f"{source.noun}s checked", source.count) as progress:
        bytes_max = min(BATCH_BYTES, limits.message_bytes // 4)  # with ids, labels and metadata
        for batch in grouped(source.items(), attrgetter("size"), bytes_max):
            unsure = []
            for item in batch:
                if item.id in seen:
                    raise Refused(f"The id {item.id} comes twice; nothing was stored.")
                seen.add(item.id)
                if item.pruned:
                    plan.pruned.add(item.id)
                try:
                    if item.id in stored and plan.note(item, stored[item.id]):
                        continue
                except Unreadable as error:
                    plan.bad[item.id] = error.why
                    continue
                if item.id not in stored:
                    plan.new.add(item.id)
                unsure.append(item)
            check(batch)
            plan.bad |= bad(unsure, limits)
            progress.add(len(batch))
    return plan


def check(items: Sequence[Item]) -> None:
    """Check all but the pictures of items as an insertion does. Raises Refused."""
    fields = columns(items) | {"images": None}
    if fields["vectors"] is None:
        fields["vectors"] = np.ones((len(items), 1))  # in place of pictures
    try:
        check_entries(fields)
    except InvalidArgument as error:
        problem = bad_pictures.named(error, items, attrgetter("id"))
        raise Refused(f"{problem} Nothing was stored.") from None


def compare_vectors(plan: Plan, memory: Memory) -> None:
    """Compare each of ``plan.unsure_rows`` with the stored vector, and update the plan."""
    for entry in memory.entries(include_vectors=True):
        own = plan.unsure_rows.pop(entry.id, None)
        if own is None or entry.vector is None:
            continue
        if sha256(entry.vector) == own:
            plan.same += 1
        else:
            plan.changed.add(entry.id)
            plan.other_content.add(entry.id)
    plan.new.update(plan.unsure_rows)  # deleted meanwhile


def bad(items: list[Item], limits: Limits) -> dict[str, str]:
    """Map the id of each picture that the server would refuse to the reason."""
    pictures = [(item.id, data) for item in items if (data := item.picture) is not None]
    found = faults([data for _, data in pictures], limits)
    return {id: why for (id, _), why in zip(pictures, found, strict=True) if why}


def refuse(plan: Plan, options: Namespace) -> None:
    """Raise Refused if the plan needs an option that was not given."""
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
        raise Refused(f"{said} {relabelling(plan.new_labels().values(), 'changes')}".rstrip())
    bad_pictures.refuse(plan.bad, options, done="stored", do="store")


def grouped(
    items: Iterable[Item], measure: Callable[[Item], int], bytes_max: int
) -> Iterator[list[Item]]:
    """Split items into groups whose sizes, by ``measure``, add up to at most ``bytes_max``.

    A group has at most 1,024 items of size above 0; a larger item is a group of its own.
    """
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
    """Insert items, skipping items that were stored since the plan was made.

    An earlier, interrupted command or another client may have stored these. Raises Refused if an id
    got other content, label or metadata meanwhile and ``--keep`` is not given.
    """
    while items:
        report = counting(progress)
        try:
            with noting_unlearned(plan):
                done = memory.insert(
                    **columns(items),
                    atomic=False,
                    replace_existing=options.replace,
                    progress=report,
                )
                plan.unlearned.update(done.unlearned)
            return
        except AlreadyExists as error:
            del items[: error.stored or 0]
            there = stored(memory)
            present = [item for item in items if item.id in there]
            same = {item.id for item in present if item.is_stored(there[item.id])}
            others = {item.id for item in present} - same
            if not present:
                raise
            if others and not options.keep:
                raise Refused(
                    "Stored meanwhile with other content, label or metadata: "
                    f"{listed(sorted(others))}; use --keep to leave that as it is and store what "
                    "is new, or --replace to replace it."
                ) from None
            plan.new -= same | others
            plan.same += len(same)
            plan.keep(others)
            progress.add(len(present))
            items[:] = [item for item in items if item.id not in there]


@contextmanager
def noting_unlearned(plan: Plan) -> Iterator[None]:
    """Context manager that adds the ids in an exception's attribute ``unlearned`` to the plan.

    Errors and interrupts of an insertion have it; the exception is raised again.
    """
    try:
        yield
    except BaseException as ended:
        plan.unlearned.update(vars(ended).get("unlearned", ()))
        raise


def counting(progress: Progress) -> Callable[[int, int], None]:
    """Return a progress callback for calls with (done, total); ``total`` is ignored.

    ``done`` counts from this moment; what ``progress`` has counted until now is added to it.
    """
    before = progress.done
    return lambda done, total: progress.reach(before + done)


def columns(items: Sequence[Item]) -> dict[str, Any]:
    """Return items as arguments of ``Memory.insert``; files are read when they are sent."""
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
    """Prune the entries that were pruned in the source; return None if there are none."""
    if not ids:
        return None
    with Progress("steps") as progress:
        return memory.prune(method="ids", ids=ids, apply=True, progress=progress.reach)


def report(
    plan: Plan, source: Source, seconds: float, pruned: PruneResult | None, options: Namespace
) -> None:
    """Print how many items were stored, replaced, skipped and left out, and which are bad.

    ``pruned`` is the result of pruning after the insertion, or None if there was nothing to prune.
    """
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
                "changed_content": plan.new_contents(),
                "skipped": plan.same,
                "kept": sorted(plan.kept),
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
        stay = f", {len(plan.kept):,} kept as stored otherwise" if plan.kept else ""
        rate = f" {seconds:.1f} s, {done / max(seconds, 1e-9):,.0f}/s." if done else ""
        say(
            f"{plural(inserted, source.noun)} inserted into {options.name}{also}, "
            f"{plan.same:,} there already{stay}.{rate}"
        )
        if changes := relabelling(plan.new_labels().values(), "changed"):
            say(changes)
        if contents := plan.new_contents():
            say(f"That changed the content of {len(contents):,}: {listed(contents)}.")
        if pruned:
            say(
                f"{plural(len(pruned.ids), 'entry')} pruned, as in {options.sources[0]}; "
                f"visual-memory undo {options.name} {pruned.operation}   takes it back."
            )
    bad_pictures.report(plan.bad, source.noun)
