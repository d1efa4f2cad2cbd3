"""``tune``: choose the rule of decisions by the entries of a memory."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from visual_memory import Client, Estimate, Rule, TuneResult
from visual_memory.terminal.arguments import Commands, flags
from visual_memory.terminal.output import plural, print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory_service.console.arguments import add_apply, add_asking
from visual_memory_service.console.interrupted import report_running_operations

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
    parser.add_argument(
        "--group-by",
        metavar="KEY",
        default="",
        help="a key of the metadata: entries with the same value are not asked of each other",
    )
    add_apply(parser)


def tune(client: Client, options: Namespace) -> None:
    """Compare rules, and with ``--apply`` make the chosen one the default of the memory."""
    with Progress("entries asked") as progress, report_running_operations(client, options.name):
        found = client.memory(options.name).tune(
            measure=options.measure,
            group_by=options.group_by,
            apply=options.apply,
            progress=progress.reach,
        )
    if options.json:
        print_json(asdict(found))
    else:
        print_tuned(found, options.name)


def print_tuned(found: TuneResult, memory: str) -> None:
    """Print the rules as a table, the best first, and the one that was chosen."""
    say(f"{plural(found.count, 'entry')} of {memory}, each asked of the others in five folds:")
    headers = ("macro accuracy", "accuracy", "log loss", "behind", "", "rule")
    ranked = sorted(found.rules, key=lambda each: each.behind.mean)
    print_table(
        headers,
        [
            (
                *map(shown, (each.macro_accuracy, each.accuracy, each.log_loss, each.behind)),
                "chosen" if each == found.chosen else "",
                flags_of(each.rule),
            )
            for each in ranked
        ],
    )
    say(
        f"Chosen by {found.measure.replace('_', ' ')}, as the preferred one of those that are no "
        f"more than a standard error behind the best: {flags_of(found.chosen.rule)}"
    )
    if found.applied:
        say(
            f"{memory} decides by it where a call names no parameter of another.",
            f"visual-memory undo {memory} {found.operation}   takes it back.",
        )
    else:
        say("Nothing was changed; add --apply to make it the default of the memory.")


def shown(estimate: Estimate) -> str:
    """Format a mean with its standard error."""
    return f"{estimate.mean:.4f} ± {estimate.error:.4f}"


def flags_of(rule: Rule) -> str:
    """Format a rule as the flags of a command."""
    return flags(asdict(rule))
