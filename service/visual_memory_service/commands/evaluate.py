"""``evaluate``: the accuracy of a memory on a labelled folder."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from visual_memory import Client
from visual_memory.evaluation import Evaluation
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import percent, plural, print_json, print_table, say
from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import Decision, Rule
from visual_memory_service.commands.classify import (
    add_vote,
    check_vote,
    mean_of_domain,
    problems,
    query_in_batches,
    vote,
)
from visual_memory_service.commands.classify import report as report_problems
from visual_memory_service.console.arguments import (
    add_asking,
    add_path,
    deciding_rule,
    rule_flags,
    shown_rule,
)
from visual_memory_service.console.uneven import hint
from visual_memory_service.pictures import bad_pictures
from visual_memory_service.pictures.pictures import alike, labelled

CONFUSIONS_SHOWN = 10
SAME_PICTURE = 1e-6  # a distance below which a neighbour is the picture itself


@dataclass(frozen=True, slots=True)
class FolderEvaluation(Evaluation):
    """An evaluation of a folder: ``rule`` decided, ``sizes`` are the voting entries of each label.

    ``bad`` maps paths to reasons.
    """

    rule: Rule
    sizes: Mapping[str, int]
    unknown_labels: Sequence[str]
    remembered_pictures: int
    seconds: float

    def advice(self, memory: str) -> str | None:
        """Return a hint for an uneven ``memory``, from the pictures whose labels it knows."""
        known = [each for label, each in self.by_label().items() if label in self.sizes]
        if not known:
            return None
        accuracy = sum(hits for _, hits in known) / sum(count for count, _ in known)
        return hint(self.sizes, accuracy, fmean(hits / count for count, hits in known), memory)


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "evaluate", evaluate, "measure the accuracy on a labelled folder")
    add_path(parser, "folder", "FOLDER", "a folder with a folder for each label")
    bad_pictures.add_skip_bad(parser, "classified")
    add_vote(parser)


def evaluate(client: Client, options: Namespace) -> int:
    """Print the accuracy on a labelled folder; return 1 if pictures were left out."""
    check_vote(options)
    if options.folder.is_file():
        raise Refused(
            f"{options.folder} is a file, and evaluate takes a folder with a folder for each "
            "label: copy the pictures of a table into such folders, or classify them in Python and "
            "compare the labels."
        )
    memory = client.memory(options.name)
    found, files = labelled(options.folder)
    labels = {picture.path: picture.label for picture in found}
    info = memory.info()
    remarks = [*files.remarks, *alike(labels.values(), info.labels)]
    if not options.json:
        bad_pictures.report_remarks(files.others, remarks)
    reranked = bool(options.reranker or info.reranker)  # so the nearest need not be the first

    shown = None if reranked else 1
    domain_mean = mean_of_domain(memory, options)

    def decide(images: Sequence[Path]) -> list[Decision]:
        return memory.classify(
            images=images, neighbors=shown, domain_mean=domain_mean, **vote(options)
        )

    answered = query_in_batches(client, options, files, decide)
    decisions = [decision for _, decision in answered.answers]
    report_problems(problems(decisions))
    evaluation = FolderEvaluation(
        answers=Counter((labels[path], decision.label) for path, decision in answered.answers),
        wrong={
            str(path): (labels[path], decision.label, decision.confidence)
            for path, decision in answered.answers
            if decision.label != labels[path]
        },
        rule=deciding_rule(info.default_rule, options),
        sizes={
            label: voting
            for label, count in info.labels.items()
            if (voting := count - info.pruned_labels.get(label, 0))
        },
        unknown_labels=sorted({labels[path] for path, _ in answered.answers} - info.labels.keys()),
        remembered_pictures=sum(
            bool(each.neighbors.distances.min() < SAME_PICTURE) for each in decisions
        ),
        bad=answered.bad,
        seconds=answered.seconds,
    )
    if options.json:
        found_odd = {"others": files.others, "remarks": remarks}
        print_json(as_json(evaluation, options) | found_odd)
    else:
        by_default = info.default_rule is None and not shown_rule(options)
        print_report(evaluation, options, evaluation.advice(info.name) if by_default else None)
    bad_pictures.report(evaluation.bad)
    return 1 if evaluation.bad else 0


def print_report(evaluation: FolderEvaluation, options: Namespace, advice: str | None) -> None:
    """Print accuracy and speed as sentences, and accuracies by label and confusions as tables."""
    right = percent(evaluation.correct, evaluation.pictures)
    rate = evaluation.pictures / evaluation.seconds
    of = f"{evaluation.correct:,} of {plural(evaluation.pictures, 'picture')}"
    how = f"by {rule_flags(evaluation.rule)}"
    if options.domain:
        how += f", centred by the mean of the pictures in {options.domain}"
    say(f"accuracy {right}: {of} ({how}); macro accuracy {100 * evaluation.macro_accuracy:.1f} %.")
    say(f"{evaluation.seconds:.1f} s, {rate:,.0f} pictures/s.")
    if advice:
        say(advice)
    if evaluation.unknown_labels:
        say(f"Labels that the memory does not know: {listed(evaluation.unknown_labels)}.")
    if evaluation.remembered_pictures:
        one = evaluation.remembered_pictures == 1
        count = plural(evaluation.remembered_pictures, "picture")
        in_it, them = ("is in", "it") if one else ("are in", "them")
        say(f"{count} of this folder {in_it} the memory itself, which makes {them} easy.")
    say("")
    print_table(
        ("label", "pictures", "correct", "accuracy"),
        [(label, n, hits, percent(hits, n)) for label, (n, hits) in evaluation.by_label().items()],
    )
    if confusions := evaluation.confusions():
        say("")
        print_table(("label", "decided", "pictures"), confusions[:CONFUSIONS_SHOWN])
    if len(confusions) > CONFUSIONS_SHOWN:
        say(f"… and {len(confusions) - CONFUSIONS_SHOWN:,} more confusions; --json shows all.")


def as_json(evaluation: FolderEvaluation, options: Namespace) -> dict[str, Any]:
    """Return an evaluation as JSON values, with counts of pictures by label and decided label."""
    confusion: dict[str, dict[str, int]] = {}
    for (label, decided), count in sorted(evaluation.answers.items()):
        confusion.setdefault(label, {})[decided] = count
    return {
        "memory": options.name,
        **asdict(evaluation.rule),
        "domain": None if options.domain is None else str(options.domain),
        "pictures": evaluation.pictures,
        "correct": evaluation.correct,
        "accuracy": evaluation.accuracy,
        "macro_accuracy": evaluation.macro_accuracy,
        "labels": {
            label: {"pictures": n, "correct": hits, "accuracy": hits / n}
            for label, (n, hits) in evaluation.by_label().items()
        },
        "confusion": confusion,
        "unknown_labels": list(evaluation.unknown_labels),
        "remembered_pictures": evaluation.remembered_pictures,
        "bad": evaluation.bad,
        "seconds": round(evaluation.seconds, 3),
        "pictures_per_second": round(evaluation.pictures / evaluation.seconds, 1),
    }
