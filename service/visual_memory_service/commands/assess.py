"""``assess``: find entries whose labels look wrong, by comparing them with each other."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from visual_memory import Assessment, Client, LabelAssessment, LabelJudgement, Suspect
from visual_memory.files import whole_file
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused, WrongUsage
from visual_memory_service.console import files
from visual_memory_service.console.arguments import (
    VOTES,
    add_asking,
    add_path,
    add_rule,
    rule,
    shown_rule,
)
from visual_memory_service.console.interrupted import report_running_operations
from visual_memory_service.console.suspects import no_suspects
from visual_memory_service.console.uneven import hint

SHOWN = 20
CALLED_SHOWN = 3


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "assess", assess, "find entries whose labels look wrong")
    add_rule(parser, "neighbours that judge")
    parser.add_argument(
        "--thin",
        metavar="N",
        type=int,
        default=5,
        help="labels of fewer entries are not judged; default: 5",
    )
    parser.add_argument(
        "--all", action="store_true", help="with --csv: add the entries that are not suspect"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv", action="store_true", help="print the suspects as CSV, for relabel --from"
    )
    add_path(
        form,
        "--page",
        "FILE.html",
        "write a page to review the suspects, with the pictures that the memory stores",
    )
    files.add_force(parser, "the page")
    add_path(
        parser,
        "--images",
        "FOLDER",
        "take pictures that the memory does not store from the folder that was inserted",
    )


def assess(client: Client, options: Namespace) -> None:
    """Assess a memory; print tables, JSON or CSV for ``relabel --from``, or write a page."""
    if options.csv and options.json:
        raise WrongUsage("argument --csv: not allowed with argument --json")
    if options.all and not options.csv:
        raise WrongUsage("argument --all: not allowed without argument --csv")
    page, images = options.page, options.images
    if images and not page:
        raise WrongUsage("argument --images: not allowed without argument --page")
    if images and not images.is_dir():
        raise Refused(f"There is no folder {images}.")
    if page:
        files.refuse(page, force=options.force)
    memory = client.memory(options.name)
    how: Any = {**rule(options), "thin": options.thin}
    with Progress("entries judged") as progress, report_running_operations(client, options.name):
        if options.all:
            votes = {name: how[name] for name in VOTES}
            judged = memory.judge_labels(**votes, thin=options.thin, progress=progress.reach)
            print_csv(judged)
            return
        found = memory.assess(**how, progress=progress.reach)
    if page:  # else what pictures need would be loaded in vain
        from visual_memory_service.console.assessment_page import (
            CONFLICTS_SHOWN,
            SUSPECTS_SHOWN,
            to_page,
        )
        from visual_memory_service.pictures.folder_thumbnails import FolderThumbnails

        limits = client.server_info().limits
        folder = FolderThumbnails(images, memory.info(), limits) if images else None
        html = to_page(memory, found, worst_labels(found), folder)
        if folder and folder.is_of_no_use:
            raise Refused(
                f"No picture could be shown. {folder.summary()} Name the folder that was inserted."
            )
        with whole_file(page, overwrite=options.force) as file:
            file.write(html.encode())
    if options.json:
        print_json(asdict(found))
    elif options.csv:
        print_csv(found.suspects)
    elif page:
        likely = part(SUSPECTS_SHOWN, len(found.suspects), "suspect")
        pairs = part(CONFLICTS_SHOWN, len(found.conflicts), "conflicting pair")
        if folder:
            say(folder.summary())
        say(f"{likely} and {pairs} of {options.name} in {page}; open it in a browser.")
    else:
        by_default = memory.info().default_rule is None and not shown_rule(options)
        print_assessment(found, options, by_default=by_default)


def part(most: int, count: int, noun: str) -> str:
    """Format a count as ``5 suspects``, or ``200 of 312 suspects`` if it exceeds ``most``."""
    return plural(count, noun) if count <= most else f"{most} of {plural(count, noun)}"


def print_csv(judged: Sequence[Suspect | LabelJudgement]) -> None:
    """Print entries as CSV; the column ``label`` is the proposed label, empty if not suspect."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("id", "label", "was", "score", "reason"))
    for each in judged:
        label = each.proposed if isinstance(each, Suspect) or each.suspect else ""
        writer.writerow((each.id, label, each.label, f"{each.score:.4f}", each.reason))


def print_assessment(found: Assessment, options: Namespace, *, by_default: bool) -> None:
    """Print an assessment as tables, the worst first; ``by_default`` if nobody chose a rule."""
    memory = options.name
    say(
        f"{plural(found.count, 'entry')} of {memory}: the others give {found.accuracy:.2%} of them "
        f"their label{shown_rule(options)}; "
        f"calibration error {found.calibration_error:.4f}."
    )
    sizes = {each.label: each.count for each in found.labels}
    advice = hint(sizes, found.accuracy, found.macro_accuracy, memory)
    if advice and by_default:
        say(advice)
    print_table(("label", "entries", "accuracy", "also called", ""), worst_labels(found))
    print_more(len(found.labels))
    if found.conflicts:
        say(
            "", f"{plural(len(found.conflicts), 'pair')} at most 0.06 apart, with different labels:"
        )
        pairs = [
            (each.ids[0], each.labels[0], each.ids[1], each.labels[1], each.distance)
            for each in found.conflicts[:SHOWN]
        ]
        print_table(("id", "label", "id", "label", "distance"), pairs)
        print_more(len(found.conflicts))
    if not found.suspects:
        say("", no_suspects(found.labels))
        return
    say("", f"{plural(len(found.suspects), 'entry')} likely mislabelled, the likeliest first:")
    likely = [
        (each.id, each.label, each.proposed, each.score, each.reason)
        for each in found.suspects[:SHOWN]
    ]
    print_table(("id", "label", "proposed", "score", "reason"), likely)
    print_more(len(found.suspects))
    say(
        "",
        "The same command with --page suspects.html makes a page to look through them, with",
        "--csv > suspects.csv a file of them all. Correct or empty the labels in that file that",
        "should be others, then",
        f"visual-memory relabel {memory} --from suspects.csv --apply   sets them, until undone.",
    )


def worst_labels(found: Assessment) -> list[tuple[object, ...]]:
    """Return the least accurate labels, SHOWN at most, as rows of a table, the worst first."""
    worst = sorted(found.labels, key=lambda each: (each.accuracy, each.label))
    return [as_row(each) for each in worst[:SHOWN]]


def as_row(label: LabelAssessment) -> tuple[object, ...]:
    """Return label, count, accuracy, most common other predictions, and "thin" if it is so."""
    others = [f"{name} {count}" for name, count in label.called.items() if name != label.label]
    also = ", ".join(others[:CALLED_SHOWN])
    return (label.label, label.count, label.accuracy, also, "thin" if label.thin else "")


def print_more(count: int) -> None:
    """Print how many of ``count`` rows follow those shown, which are the first SHOWN, if any."""
    if count > SHOWN:
        say(f"and {count - SHOWN} more")
