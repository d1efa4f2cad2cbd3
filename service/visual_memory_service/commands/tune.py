"""``tune``: choose the rule of decisions by the entries of a memory."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from visual_memory import Client, Estimate, MemoryInfo, TuneResult
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import listed
from visual_memory_service.console import unasked
from visual_memory_service.console.arguments import (
    add_apply,
    add_asking,
    add_group_by,
    calibration_hint,
    rule_flags,
    rule_of,
)
from visual_memory_service.console.interrupted import report_running_operations

FEW = 5
ROUNDING = 1e-9  # of a mean
MEASURES = ("macro_accuracy", "accuracy", "log_loss")


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "tune", tune, "choose the rule of decisions by which the entries fare best"
    )
    parser.add_argument(
        "--measure",
        choices=MEASURES,
        default="macro_accuracy",
        help="the measure that chooses; macro_accuracy is the mean over labels, and the default",
    )
    add_group_by(parser)
    add_apply(parser)


def tune(client: Client, options: Namespace) -> None:
    """Compare rules, and with ``--apply`` make the chosen one the default of the memory."""
    with Progress("entries asked") as progress, report_running_operations(client, options.name):
        found = client.memory(options.name).tune(
            measure=options.measure,
            group_by=options.group_by or "",
            apply=options.apply,
            progress=progress.reach,
        )
    if options.json:
        print_json(asdict(found))
    else:
        print_tuned(found, client.memory(options.name).info(), options.group_by or "")


def print_tuned(found: TuneResult, info: MemoryInfo, key: str) -> None:
    """Print the rules as a table, the best first, and the one that was chosen.

    They are numbered in the order of preference. ``key`` is the metadata key of the groups, or
    empty.
    """
    groups = together = ""
    if key:
        groups = f" in {plural(found.group_count, 'group')}"
        together = f"; those of one {key} share a fold"
    say(
        f"{plural(found.count, 'entry')} of {info.name}{groups} asked, each decided by the entries "
        f"outside its fold, one of up to five{together}:"
    )
    headers = ("macro accuracy", "accuracy", "log loss (less is better)", "behind", "", "rule")
    ranked = sorted(enumerate(found.rules, 1), key=lambda each: each[1].behind.mean)
    print_table(
        ("number", *headers),
        [
            (
                number,
                *map(shown, (each.macro_accuracy, each.accuracy, each.log_loss, each.behind)),
                "chosen" if each == found.chosen else "",
                rule_flags(each.rule),
            )
            for number, each in ranked
        ],
    )
    measure, number = found.measure.replace("_", " "), found.rules.index(found.chosen) + 1
    say(
        f"Chosen by {measure} is number {number}: in order, it is the first that is behind the "
        "best by no more than one standard error of the difference.",
        *cautions(found, info, key),
    )
    if not found.applied and found.chosen.rule == rule_of(info):
        say(f"{info.name} decides by it already.")
        return
    if not found.applied:
        say("Nothing was changed; add --apply to make it the default of the memory.")
        return
    say(
        f"{info.name} decides by it from now on; a call that sets some of it, such as --k 10, "
        "takes the rest from it.",
        f"visual-memory undo {info.name} {found.operation}   takes it back.",
    )
    if hint := calibration_hint(info):
        say(hint)


def cautions(found: TuneResult, info: MemoryInfo, key: str) -> Iterator[str]:
    """Yield sentences on entries that were not asked, and on measures that tell little.

    ``key`` is the metadata key of the groups, or empty. How many groups a label has is not known.
    """
    voting = Counter(info.labels) - Counter(info.pruned_labels)
    if alone := sorted(label for label, count in voting.items() if count == 1):
        yield f"Not asked, as each has a single entry: {listed(alone)}."
    if few := sorted(label for label, count in voting.items() if count < FEW):
        yield (
            f"Labels of fewer than {FEW} entries: {listed(few)}. So few say little about new "
            "pictures, whatever the standard errors: insert more, and tune again."
        )
    yield from unasked.remarks(found, key, info.name)
    if key:
        yield (
            f"Groups are not counted by label: those of fewer than {FEW} groups say little, too."
        )
    guessed, right = 1 / found.asked_label_count, found.chosen.macro_accuracy
    if right.mean - 2 * right.error <= guessed + ROUNDING:
        by_label = found.measure == "macro_accuracy"
        why = ": the vectors may hardly tell these labels apart" if by_label else ""
        yield (
            f"Naming one label always has a macro accuracy of {guessed:.4f}, and the chosen rule "
            f"is not clearly better{why}."
        )


def shown(estimate: Estimate) -> str:
    """Format a mean with its standard error."""
    return f"{estimate.mean:.4f} ± {estimate.error:.4f}"
