"""``classify``: pictures are shown to a memory, a few at a time."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from visual_memory import Client, InvalidArgument
from visual_memory._terminal.arguments import VOTINGS, Commands
from visual_memory._terminal.output import plural, print_json_array, print_table, printable
from visual_memory._terminal.refused import Refused
from visual_memory.types import Decision, Neighbor
from visual_memory_service.commands import pictures
from visual_memory_service.commands.arguments import FILTER, add_asking

BATCH = 64
IMAGE = re.compile(r"images\[(\d+)\]")

Answer = TypeVar("Answer")


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "classify", classify, "say what pictures show")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="also a folder")
    add_vote(parser)
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="say how often such decisions are right, and whether the picture is like none here",
    )
    parser.add_argument(
        "--coverage",
        metavar="C",
        type=float,
        help="add the labels that hold the right one in this share of all cases, such as 0.9",
    )
    parser.add_argument(
        "--min-confidence",
        metavar="C",
        type=float,
        help="add the deepest node of the taxonomy that has this share of the votes",
    )
    parser.add_argument(
        "--neighbors",
        metavar="N",
        type=int,
        help="how many neighbours to show of each; default: 1, with --json all",
    )


def add_vote(parser: ArgumentParser) -> None:
    """Who votes, and how."""
    parser.add_argument(
        "--k", metavar="K", type=int, default=50, help="neighbours that vote; default: 50"
    )
    parser.add_argument("--voting", choices=VOTINGS, default="rank", help="default: rank")
    parser.add_argument("--filter", metavar="F", help=f"who may vote, {FILTER}")
    parser.add_argument(
        "--reliability",
        choices=("none", "soft"),
        default="none",
        help="soft: the votes of entries that mislead count less; default: none",
    )
    parser.add_argument(
        "--reliability-k",
        metavar="K",
        type=int,
        default=10,
        help="among how many nearest neighbours they mislead; default: 10",
    )
    parser.add_argument(
        "--reranker",
        metavar="NAME",
        help="of this server, which says who of the neighbours counts how much; none: nobody; "
        "default: the memory's",
    )


def classify(client: Client, options: Namespace) -> int:
    """The label of each picture, by the vote of its nearest entries."""
    memory = client.memory(options.name)
    shown = options.neighbors
    if shown is None and not options.json:
        shown = 1

    def decide(images: Sequence[bytes]) -> list[Decision]:
        return memory.classify(
            images=images,
            calibrated=options.calibrated,
            coverage=options.coverage,
            min_confidence=options.min_confidence,
            neighbors=shown,
            **vote(options),
        )

    problems = Counter[str]()
    decisions = noted(ask(decide, pictures.named(options.images)), problems)
    if options.json:
        print_json_array(as_json(path, decision) for path, decision in decisions)
        return 0
    rows = [
        (path, each.label, each.confidence, *more(each, options), ", ".join(each.neighbors.ids))
        for path, each in decisions
    ]
    headers = {"calibrated": options.calibrated, "labels": options.coverage}
    headers["taxon"] = options.min_confidence
    added = [name for name, wanted in headers.items() if wanted]
    print_table(("picture", "label", "confidence", *added, "nearest"), rows)
    report(problems)
    return 0


def vote(options: Namespace) -> dict[str, Any]:
    """Who votes, and how, as ``Memory.classify`` is told."""
    names = ("k", "voting", "filter", "reliability", "reliability_k", "reranker")
    return {name: getattr(options, name) for name in names}


def noted(
    decisions: Iterator[tuple[Path, Decision]], problems: Counter[str]
) -> Iterator[tuple[Path, Decision]]:
    """The same, while it is noted why re-rankers were of no help."""
    for path, decision in decisions:
        if decision.reranking and not decision.reranking.applied:
            problems[decision.reranking.problem] += 1
        yield path, decision


def report(problems: Counter[str]) -> None:
    """Say why re-rankers were of no help, and how often."""
    for problem, count in problems.most_common():
        said = printable(problem)  # by a re-ranker, which may be anybody's
        print(f"{plural(count, 'picture')} not re-ranked: {said}", file=sys.stderr)


def more(decision: Decision, options: Namespace) -> Iterator[str]:
    """The cells that were asked for beside the vote."""
    if options.calibrated:
        sure = f"{decision.calibrated_confidence:.4f}"
        yield "rejected" if decision.rejected else sure
    if options.coverage:
        yield ", ".join(decision.label_set or ())
    if options.min_confidence:
        yield decision.node.name if decision.node else ""


def ask(
    question: Callable[[Sequence[bytes]], Sequence[Answer]], paths: Sequence[Path]
) -> Iterator[tuple[Path, Answer]]:
    """Each picture with its answer. Raises Refused with the picture's name for what is bad."""
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        try:
            answers = question([pictures.read(path) for path in batch])
        except InvalidArgument as error:
            named = IMAGE.sub(lambda found: str(batch[int(found[1])]), error.message)  # noqa: B023
            raise Refused(named) from None
        yield from zip(batch, answers, strict=True)


def as_json(path: Path, decision: Decision) -> dict[str, Any]:
    """Everything there is to say of a decision."""
    return {
        "picture": str(path),
        "label": decision.label,
        "confidence": decision.confidence,
        "scores": decision.scores,
        "calibrated_confidence": decision.calibrated_confidence,
        "rejected": decision.rejected,
        "label_set": decision.label_set,
        "taxon": asdict(decision.node) if decision.node else None,
        "reranking": asdict(decision.reranking) if decision.reranking else None,
        "neighbors": [{**near_json(each), "weight": each.weight} for each in decision.neighbors],
    }


def near_json(neighbor: Neighbor) -> dict[str, Any]:
    """A neighbour without its vote."""
    return {"id": neighbor.id, "label": neighbor.label, "distance": neighbor.distance}
