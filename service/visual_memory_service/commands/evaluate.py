"""``evaluate``: how often a memory is right about a labelled folder."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visual_memory import Client
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import percent, plural, print_json, print_table, say
from visual_memory.terminal.refused import listed
from visual_memory.types import Decision
from visual_memory_service.commands.classify import add_vote, ask, problems, vote
from visual_memory_service.commands.classify import report as report_problems
from visual_memory_service.console.arguments import add_asking
from visual_memory_service.pictures import bad_pictures
from visual_memory_service.pictures.pictures import alike, labelled

CONFUSIONS_SHOWN = 10
SAME_PICTURE = 1e-6  # a distance below which a neighbour is the picture itself


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was asked and answered: pictures by (label, decided label). ``bad`` has why, by path."""

    answers: Counter[tuple[str, str]]
    unknown_labels: Sequence[str]
    remembered_pictures: int
    bad: dict[str, str]
    seconds: float

    @property
    def pictures(self) -> int:
        """How many were asked."""
        return self.answers.total()

    @property
    def correct(self) -> int:
        """How many of them were right."""
        return sum(count for (label, decided), count in self.answers.items() if label == decided)

    def by_label(self) -> dict[str, tuple[int, int]]:
        """Pictures and right ones of every label, by label."""
        totals = Counter[str]()
        for (label, _), count in self.answers.items():
            totals[label] += count
        return {label: (totals[label], self.answers[label, label]) for label in sorted(totals)}

    def confusions(self) -> list[tuple[str, str, int]]:
        """Label, decided label and count of what was wrong, the most common first."""
        wrong = [(*pair, count) for pair, count in self.answers.items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda each: (-each[2], each))


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "evaluate", evaluate, "measure accuracy on a labelled folder")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder per class")
    bad_pictures.add_skip_bad(parser, "asked")
    add_vote(parser)


def evaluate(client: Client, options: Namespace) -> int:
    """Classify every picture of a folder per class and compare; 1 where some are left out."""
    memory = client.memory(options.name)
    found, look = labelled(options.folder)
    labels = {picture.path: picture.label for picture in found}
    info = memory.info()
    remarks = [*look.remarks, *alike(labels.values(), info.labels)]
    if not options.json:
        bad_pictures.tell(look.others, remarks)
    reranked = bool(options.reranker or info.reranker)  # so the nearest need not be the first

    def decide(images: Sequence[bytes]) -> list[Decision]:
        return memory.classify(images=images, neighbors=None if reranked else 1, **vote(options))

    asked = ask(client, options, look, decide)
    decisions = [decision for _, decision in asked.answers]
    report_problems(problems(decisions))
    evaluation = Evaluation(
        answers=Counter((labels[path], decision.label) for path, decision in asked.answers),
        unknown_labels=sorted({labels[path] for path, _ in asked.answers} - info.labels.keys()),
        remembered_pictures=sum(
            bool(each.neighbors.distances.min() < SAME_PICTURE) for each in decisions
        ),
        bad=asked.bad,
        seconds=asked.seconds,
    )
    if options.json:
        found_odd = {"others": look.others, "remarks": remarks}
        print_json(as_json(evaluation, options) | found_odd)
    else:
        print_report(evaluation)
    bad_pictures.report(evaluation.bad)
    return 1 if evaluation.bad else 0


def print_report(evaluation: Evaluation) -> None:
    """The result as tables."""
    right = percent(evaluation.correct, evaluation.pictures)
    rate = evaluation.pictures / evaluation.seconds
    say(f"accuracy {right}: {evaluation.correct:,} of {plural(evaluation.pictures, 'picture')}.")
    say(f"{evaluation.seconds:.1f} s, {rate:,.0f} pictures/s.")
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


def as_json(evaluation: Evaluation, options: Namespace) -> dict[str, Any]:
    """The result with the whole confusion matrix, as label → decided label → pictures."""
    confusion: dict[str, dict[str, int]] = {}
    for (label, decided), count in sorted(evaluation.answers.items()):
        confusion.setdefault(label, {})[decided] = count
    return {
        "memory": options.name,
        "k": options.k,
        "voting": options.voting,
        "pictures": evaluation.pictures,
        "correct": evaluation.correct,
        "accuracy": evaluation.correct / evaluation.pictures,
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
