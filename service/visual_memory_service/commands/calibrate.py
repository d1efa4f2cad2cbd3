"""``calibrate``: fit confidences, label sets and rejection to pictures or entries."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory import CalibrationState, Client, Memory
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json, printable, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import WrongUsage, listed
from visual_memory_service.commands.classify import query_in_batches
from visual_memory_service.console import unasked
from visual_memory_service.console.arguments import (
    add_asking,
    add_group_by,
    add_path,
    add_rule,
    rule,
    rule_flags,
)
from visual_memory_service.console.interrupted import report_running_operations
from visual_memory_service.pictures import bad_pictures
from visual_memory_service.pictures.pictures import alike, labelled


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands,
        "calibrate",
        calibrate,
        "fit confidences, label sets and rejection, in place of a former calibration",
    )
    add_path(
        parser,
        "folder",
        "FOLDER",
        "pictures that are no entries, in a folder for each label; without it each entry is asked "
        "of the others",
        nargs="?",
    )
    bad_pictures.add_skip_bad(parser, "asked")
    add_group_by(parser)
    add_rule(parser, "neighbours that vote")


def calibrate(client: Client, options: Namespace) -> int:
    """Calibrate a memory for decisions by one rule; return 1 if pictures were left out."""
    if options.folder and options.group_by:
        raise WrongUsage("argument --group-by: not allowed with argument FOLDER")
    if options.skip_bad and not options.folder:
        raise WrongUsage("argument --skip-bad: not allowed without argument FOLDER")
    memory = client.memory(options.name)
    queries, bad = held_out(client, memory, options) if options.folder else ({}, {})
    former, key = memory.info().calibration, options.group_by or ""
    judged = "pictures judged" if options.folder else "entries judged"
    with Progress(judged) as progress, report_running_operations(client, options.name):
        found = memory.calibrate(group_by=key, progress=progress.reach, **rule(options), **queries)
    if options.json:
        print_json(asdict(found))
    else:
        asked = plural(found.count, "picture" if options.folder else "entry")
        grouped = f", none asked of those with the same {printable(key)}" if key else ""
        say(
            f"{options.name} is calibrated for decisions by {rule_flags(found.rule)}, by {asked}"
            f"{grouped}.",
            *(() if options.folder else unasked.remarks(found, key, options.name)),
            *replaced(former),
            f"On average a confidence is {found.error_before:.4f} away from how often such "
            "decisions are right,",
            f"and a calibrated confidence {found.error_after:.4f}. Pictures "
            f"farther than {found.rejection_distance:.4f} from the memory are rejected, by the "
            "mean of the distances to the nearest entry and to the nearest class mean.",
        )
    bad_pictures.report(bad)
    return 1 if bad else 0


def replaced(former: CalibrationState | None) -> Iterator[str]:
    """Yield a sentence on the calibration that was there before, if there was one."""
    if former:
        yield (
            f"The calibration of {printable(former.create_time)} UTC for "
            f"{rule_flags(former.rule)}, which it had when this began, is gone."
        )


def held_out(
    client: Client, memory: Memory, options: Namespace
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return vectors and labels of the pictures in a folder, and why others were left out."""
    found, files = labelled(options.folder)
    label_of = {picture.path: picture.label for picture in found}
    known = memory.info().labels
    remarks = [*files.remarks, *alike(label_of.values(), known)]
    if strange := sorted(set(label_of.values()) - known.keys()):
        remarks.append(
            f"Not labels of {options.name}, so that decisions on their pictures count as wrong: "
            f"{listed(strange)}"
        )
    bad_pictures.report_remarks(files.others, remarks)

    def embed(images: Sequence[Path]) -> list[NDArray[np.float32]]:
        return list(memory.embed(images))

    answered = query_in_batches(client, options, files, embed)
    vectors = np.array([vector for _, vector in answered.answers])
    return (
        {"vectors": vectors, "labels": [label_of[path] for path, _ in answered.answers]},
        answered.bad,
    )
