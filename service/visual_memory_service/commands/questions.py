"""``classify`` and ``search``: pictures are shown to a memory, a few at a time."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from visual_memory import Client, InvalidArgument
from visual_memory._terminal.output import plural, print_json_array, print_table, printable
from visual_memory._terminal.refused import Refused
from visual_memory.types import Decision, Neighbor
from visual_memory_service.commands import pictures

BATCH = 64
IMAGE = re.compile(r"images\[(\d+)\]")

Answer = TypeVar("Answer")


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


def search(client: Client, options: Namespace) -> int:
    """The nearest entries of each picture."""
    memory = client.memory(options.name)
    answers = ask(
        lambda images: memory.search(images=images, k=options.k, filter=options.filter),
        pictures.named(options.images),
    )
    if options.json:
        print_json_array(
            {"picture": str(path), "neighbors": [near_json(each) for each in neighbors]}
            for path, neighbors in answers
        )
        return 0
    print_table(
        ("picture", "rank", "id", "label", "distance"),
        [
            (path, rank, each.id, each.label, each.distance)
            for path, neighbors in answers
            for rank, each in enumerate(neighbors, start=1)
        ],
    )
    return 0


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
