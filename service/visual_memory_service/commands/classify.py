"""``classify``: pictures are shown to a memory, a few at a time."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from visual_memory import Client
from visual_memory.terminal.arguments import VOTINGS, Commands
from visual_memory.terminal.output import plural, print_json_array, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused
from visual_memory.types import Decision, Limits, Neighbor
from visual_memory_service.console.arguments import FILTER, add_asking
from visual_memory_service.pictures import bad_pictures, pictures
from visual_memory_service.pictures.pictures import Look

BATCH = 64

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Asked(Generic[Answer]):
    """Pictures with their answers, and why others were left out, by path."""

    answers: Sequence[tuple[Path, Answer]]
    bad: dict[str, str]
    seconds: float


VOTE_SHARE = (
    "A vote share of 1 means that all neighbours agree, not that they are right: "
    "visual-memory calibrate {name}, then --calibrated, says how often such decisions are right."
)


def add_to(commands: Commands) -> None:
    parser = add_asking(commands, "classify", classify, "say what pictures show")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="also a folder")
    bad_pictures.add_skip_bad(parser, "asked")
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
        help="add the deepest node of the taxonomy, which set_taxonomy in Python sets, that has "
        "this share of the votes",
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
        "-k", "--k", metavar="K", type=int, default=50, help="neighbours that vote; default: 50"
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
    """The label of each picture, by the vote of its nearest entries; 1 where some are left out."""
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

    asked = ask(client, options, pictures.look_at(options.images), decide)
    if options.min_confidence is not None and not memory.taxonomy().parents:
        say(
            f"{options.name} has no taxonomy, so its nodes are its labels; in Python set_taxonomy "
            "sets one.",
            file=sys.stderr,
        )
    if options.json:
        print_json_array(as_json(path, decision) for path, decision in asked.answers)
    else:
        rows = [
            (path, each.label, each.confidence, *more(each, options), ", ".join(each.neighbors.ids))
            for path, each in asked.answers
        ]
        headers = {"calibrated": options.calibrated, "labels": options.coverage}
        headers["node"] = options.min_confidence
        added = [name for name, wanted in headers.items() if wanted]
        print_table(("picture", "label", "vote share", *added, "nearest"), rows)
        if sys.stderr.isatty() and not options.calibrated:
            say(VOTE_SHARE.format(name=options.name), file=sys.stderr)
        report(problems(decision for _, decision in asked.answers))
    if any(decision.calibration_stale for _, decision in asked.answers):
        say(
            f"{options.name} was changed since it was calibrated; "
            f"visual-memory calibrate {options.name}   does it anew.",
            file=sys.stderr,
        )
    bad_pictures.report(asked.bad)
    return 1 if asked.bad else 0


def vote(options: Namespace) -> dict[str, Any]:
    """Who votes, and how, as ``Memory.classify`` is told."""
    names = ("k", "voting", "filter", "reliability", "reliability_k", "reranker")
    return {name: getattr(options, name) for name in names}


def problems(decisions: Iterable[Decision]) -> Counter[str]:
    """Why re-rankers were of no help, and how often."""
    rerankings = [each.reranking for each in decisions if each.reranking]
    return Counter(each.problem for each in rerankings if not each.applied)


def report(problems: Counter[str]) -> None:
    """Say why re-rankers were of no help, and how often."""
    for problem, count in problems.most_common():
        say(f"{plural(count, 'picture')} not re-ranked: {problem}", file=sys.stderr)


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
    client: Client,
    options: Namespace,
    look: Look,
    question: Callable[[Sequence[bytes]], Sequence[Answer]],
) -> Asked[Answer]:
    """All pictures with their answers, those left out that ``--skip-bad`` allows to.

    Raises Refused before the first question for pictures that cannot be used, without
    ``--skip-bad``, and where none is left.
    """
    client.memory(options.name).info()  # so that pictures are not checked for one that is not there
    bad = {str(path): why for path, why in look.bad.items()}
    bad |= undecodable(look.pictures, client.server_info().limits)
    bad_pictures.refuse(bad, options, done="asked", do="ask about")
    good = [path for path in look.pictures if str(path) not in bad]
    answers: list[tuple[Path, Answer]] = []
    with Progress("pictures", len(good)) as progress:
        for batch in batches(good):
            count = len(batch)
            answered = bad_pictures.send(
                lambda batch: question([pictures.read(path) for path in batch]),
                batch,
                str,
                bad,
                options,
            )
            answers.extend(zip(batch, answered or (), strict=True))
            progress.add(count)
        seconds = progress.seconds
    if not answers:
        raise Refused(*bad_pictures.lines(bad), "Nothing was asked, because no picture is left.")
    return Asked(answers, bad, seconds)


def undecodable(paths: Sequence[Path], limits: Limits) -> dict[str, str]:
    """Why pictures do not decode, or cannot be read, by path."""
    bad: dict[str, str] = {}
    with Progress("pictures checked", len(paths)) as progress:
        for batch in batches(paths):
            found = pictures.faults(batch, limits)
            bad |= {str(path): why for path, why in zip(batch, found, strict=True) if why}
            progress.add(len(batch))
    return bad


def batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """A few at a time."""
    for start in range(0, len(paths), BATCH):
        yield list(paths[start : start + BATCH])


def as_json(path: Path, decision: Decision) -> dict[str, Any]:
    """Everything there is to say of a decision."""
    return {
        "picture": str(path),
        "label": decision.label,
        "confidence": decision.confidence,
        "scores": decision.scores,
        "calibrated_confidence": decision.calibrated_confidence,
        "calibration_stale": decision.calibration_stale,
        "rejected": decision.rejected,
        "label_set": decision.label_set,
        "node": asdict(decision.node) if decision.node else None,
        "reranking": asdict(decision.reranking) if decision.reranking else None,
        "neighbors": [{**near_json(each), "weight": each.weight} for each in decision.neighbors],
    }


def near_json(neighbor: Neighbor) -> dict[str, Any]:
    """A neighbour without its vote."""
    return {"id": neighbor.id, "label": neighbor.label, "distance": neighbor.distance}
